"""Time of a training epoch with every sampler against our own uniform epoch, with MF and LightGCN on one thread.

    python benchmarks/samplers.py [SPLIT] [--models mf lightgcn] [--samplers dns dens ...] [--repeats 5] [--out benchmarks/results/samplers.md]

All samplers have their defaults (pools and candidates included) and one negative per pair. They take turns; a ratio is of
processor seconds within a turn. What a sampler computes before every epoch counts. Without SPLIT, 200,000 random pairs of
30,000 users are used. Samplers that need a text, a tree or neighbours are not among them.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from epoch import random_pairs, seconds
from machine import load, machine
from peer_processes import spread

from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.fitting import build_source
from hardneg.models import ModelConfig
from hardneg.report import printers
from hardneg.sampling import SamplerConfig, SamplerInputs, TrainingPairs
from hardneg.training import FitConfig, Positives, fit_model

UNIFORM = "uniform"
SAMPLERS = ("popularity", "in-batch", "dns", "adaptive-softmax", "ahns", "mixgcf", "dens", "ans", "srns", "gdns")
GOAL = 1.5


def epoch_of(train: Interactions, model: str, sampler: str) -> Callable[[], None]:
    """Return a function that trains one epoch, with a new Adam and one more propagation."""
    built_model = ModelConfig.model_validate({"kind": model}).build(train, seed=0)
    options, config = SamplerConfig.model_validate({"kind": sampler}), FitConfig(epochs=1, check_every=1)
    positives = Positives(train)
    candidates = build_source(options, config, positives, train)
    pairs = TrainingPairs(train, positives.users, positives.items, candidates)
    built = options.build(SamplerInputs(built_model.final_size, None, 0, pairs=pairs))

    def epoch() -> None:
        fit_model(built_model, positives, built, candidates, config, validate=lambda _: {"recall@20": 0.0})

    return epoch


def measure(train: Interactions, model: str, samplers: Sequence[str], repeats: int) -> dict[str, list[float]]:
    """Return sampler -> processor seconds of its epochs, one a turn; the first, unmeasured epoch compiles."""
    epochs = {name: epoch_of(train, model, name) for name in (UNIFORM, *samplers)}
    for epoch in epochs.values():
        epoch()
    measured: dict[str, list[float]] = {name: [] for name in epochs}
    for _ in range(repeats):
        for name, epoch in epochs.items():
            measured[name].append(seconds(epoch))
    return measured


def table(measured: dict[str, list[float]]) -> str:
    rows = []
    for name, own in measured.items():
        ratios = [a / b for a, b in zip(own, measured[UNIFORM], strict=True)]
        within = "yes" if statistics.median(ratios) <= GOAL else "NO"
        rows.append([name, f"{statistics.median(own):.3f}", spread(ratios), within])
    return printers.markdown(["sampler", "processor seconds", "this / uniform, median [min, max]", f"<= {GOAL}"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path, nargs="?")
    parser.add_argument("--models", nargs="+", default=["mf", "lightgcn"])
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=SAMPLERS)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    train = random_pairs() if arguments.split is None else splits.read_split(arguments.split).train
    name = "random pairs" if arguments.split is None else arguments.split.name
    parts = [
        f"# One epoch with every sampler\n\n{name}: {len(train):,} pairs, size 64, batch 2048, 1 thread, "
        f"{arguments.repeats} repeats in turn. {machine()}, load averages at the start {load()}."
    ]
    print(parts[0], flush=True)
    for model in arguments.models:
        parts.append(f"## {model}\n\n{table(measure(train, model, arguments.samplers, arguments.repeats))}")
        print("\n" + parts[-1], flush=True)
    if arguments.out is not None:
        arguments.out.write_text("\n\n".join(parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
