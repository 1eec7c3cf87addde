"""Time and memory of an epoch and an evaluation as the data grows: copies of a split's users, with `fit.max_steps` and without.

    python benchmarks/growth.py data/sports-split [--copies 1 10 100] [--models lightgcn mf] [--max-steps 50] [--most-exact 2] [--repeats 3] [--out benchmarks/results/growth.md]

Every measurement is a process of its own with one thread, so that its largest memory is its own. The sizes take turns; an epoch
is divided by the exact one of one copy in the same turn, in processor seconds. Exact means batches of 2,048 pairs on any data.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from machine import load, machine
from peer_processes import environment, spread

from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import build_source
from hardneg.models import ModelConfig
from hardneg.report import printers
from hardneg.sampling import SamplerConfig, SamplerInputs
from hardneg.training import FitConfig, Positives, fit_model

EXACT = "exact"
SLOW = 20
"""Copies from which one turn is measured."""


def repeat_users(pairs: Interactions, copies: int) -> Interactions:
    """Return copies of all pairs, each with users of its own."""
    users = (pairs.users + np.arange(copies)[:, None] * pairs.n_users).reshape(-1)
    return Interactions(users, np.tile(pairs.items, copies), copies * pairs.n_users, pairs.n_items)


def measure_one(split: Path, copies: int, model: str, steps: str) -> dict[str, float]:
    """Return the processor seconds of an epoch after an unmeasured part of one, those of an evaluation, and the memory."""
    torch.set_num_threads(1)
    read = splits.read_split(split)
    train, test = repeat_users(read.train, copies), repeat_users(read.test, copies)
    built = ModelConfig.model_validate({"kind": model}).build(train, seed=0)
    sampler = SamplerConfig.model_validate({"kind": "uniform"})
    config = FitConfig(epochs=1, check_every=1, max_steps=None if steps == EXACT else int(steps))
    positives, started = Positives(train), list[float]()
    source = build_source(sampler, config, positives, train)
    # The first step compiles: the clock starts after it, and the rest is scaled to all steps.

    def watch(epoch: int, step: int, n_steps: int, loss: float, best: float) -> None:  # noqa: ARG001
        if step in (1, n_steps):
            started.append(time.process_time() / (1 - 1 / max(n_steps, 2)))

    built_sampler = sampler.build(SamplerInputs(built.final_size, None, 0))
    fitted = fit_model(built, positives, built_sampler, source, config, validate=None, watch=watch)
    epoch = started[-1] - started[0]
    trained = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begun = time.process_time()
    evaluate_scores(inner_product(fitted.embeddings), test, train, metrics=("recall@20", "ndcg@20"))
    evaluation, evaluated = time.process_time() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size = fitted.step_size.batch_size
    return {
        "pairs": len(train),
        "batch": size,
        "epoch": epoch,
        "evaluation": evaluation,
        "MiB": trained / 1024,
        "MiB, evaluated": evaluated / 1024,
    }


def run_one(split: Path, copies: int, model: str, steps: str) -> dict[str, float]:
    command = [sys.executable, __file__, str(split), "--one", str(copies), model, steps]
    done = subprocess.run(command, env=environment(), check=True, capture_output=True, text=True)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


def table(measured: dict[tuple[str, str, int], list[dict[str, float]]]) -> str:
    heads = [
        "model",
        "steps",
        "copies",
        "pairs",
        "batch",
        "epoch, s",
        "times the exact epoch of one copy",
        "evaluation, s",
        "MiB",
        "MiB, evaluated",
    ]
    rows = []
    for (model, steps, copies), turns in measured.items():
        of_one = measured[model, EXACT, min(n for _, _, n in measured)]
        ratios = [turn["epoch"] / one["epoch"] for turn, one in zip(turns, of_one, strict=False)]
        middle = {name: statistics.median(turn[name] for turn in turns) for name in turns[0]}
        cells = [f"{middle[name]:,.0f}" for name in ("pairs", "batch")] + [f"{middle['epoch']:.2f}", spread(ratios)]
        cells += [f"{middle['evaluation']:.2f}", *(f"{middle[name]:,.0f}" for name in ("MiB", "MiB, evaluated"))]
        rows.append([model, steps, str(copies), *cells])
    return printers.markdown(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--models", nargs="+", default=["lightgcn", "mf"])
    parser.add_argument("--max-steps", type=int, default=50)
    parser.add_argument("--most-exact", type=int, default=2, help="copies from which exact epochs are left out")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        copies, model, steps = arguments.one
        print(json.dumps(measure_one(arguments.split, int(copies), model, steps)))
        return
    measured: dict[tuple[str, str, int], list[dict[str, float]]] = {}
    for turn in range(arguments.repeats):
        for model in arguments.models:
            for steps in (EXACT, str(arguments.max_steps)):
                for copies in sorted(arguments.copies):
                    if copies >= (arguments.most_exact if steps == EXACT else SLOW if turn else math.inf):
                        continue
                    answer = run_one(arguments.split, copies, model, steps)
                    measured.setdefault((model, steps, copies), []).append(answer)
                    print(f"turn {turn + 1}: {model}, {steps}, {copies} copies: {answer}", flush=True)
    note = f"{arguments.split.name}, one thread, {machine()}, load {load()}; medians of {arguments.repeats} turns (one from {SLOW} copies on)."
    text = f"# Growth with the data\n\n{note}\n\n{table(measured)}"
    print(text)
    if arguments.out is not None:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
