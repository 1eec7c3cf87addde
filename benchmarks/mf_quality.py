"""Processor seconds of matrix factorisation to the same validation nDCG@20: cornac, implicit, and our two optimizers.

    python benchmarks/mf_quality.py data/sports-split [--repeats 3] [--out benchmarks/results/mf_quality.md]

Every method tries each pair of a learning rate and an L2 once; the pair with the highest nDCG@20 at any check is measured,
with one thread and another seed in each turn. Validation is not timed. A target is the highest nDCG@20 of a library in a
turn, or nine tenths of it; the time to it is that of the first check that reaches it. Adam has a fifth of the passes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from machine import load, machine
from peer_processes import export, require_peers, run_peer, spread

from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.fitting import build_source
from hardneg.models import ModelConfig
from hardneg.report import printers
from hardneg.sampling import SamplerConfig, SamplerInputs
from hardneg.training import FitConfig, Positives, fit_model
from hardneg.types import Embeddings

METRIC = "ndcg@20"
CHECKS = 20
"""Checks of a training."""
RATES, L2 = (0.05, 0.1, 0.2), (0.003, 0.01, 0.03)
ADAM_RATES, ADAM_L2 = (0.001, 0.002, 0.005), (1e-4, 1e-3, 1e-2)
Curve = list[tuple[float, float]]
"""(processor seconds, nDCG@20) at every check."""
Run = Callable[[Split, int, float, float, int], Curve]
"""A training: split, passes, learning rate, L2 and seed -> its curve."""


@dataclass(frozen=True)
class Method:
    """A method: its name, the settings that it tries, and its training."""

    name: str
    rates: tuple[float, ...]
    l2: tuple[float, ...]
    run: Run


def ours(sampler: dict[str, object], optimizer: str) -> Run:
    """Return a function that trains ours, and leaves the validation out of its time."""

    def run(split: Split, passes: int, rate: float, l2: float, seed: int) -> Curve:
        checks = checks_of(passes if optimizer == "sgd" else passes // 5)
        model = ModelConfig.model_validate({"kind": "mf"}).build(split.train, seed=seed)
        config = FitConfig.model_validate(
            {"epochs": checks[-1], "check_every": checks[0], "patience": CHECKS, "select": METRIC, "seed": seed}
            | {"learning_rate": rate, "l2": l2, "optimizer": optimizer}
        )
        options, positives = SamplerConfig.model_validate(sampler), Positives(split.train)
        candidates = build_source(options, config, positives, split.train)
        built = options.build(SamplerInputs(model.final_size, None, seed))
        curve: Curve = []
        validation, started = 0.0, time.process_time()

        def validate(embeddings: Embeddings) -> dict[str, float]:
            nonlocal validation
            entered = time.process_time()
            curve.append((entered - started - validation, quality(split, embeddings)))
            validation += time.process_time() - entered
            return {METRIC: curve[-1][1]}

        fit_model(model, positives, built, candidates, config, validate=validate)
        return curve

    return run


def peer(library: str) -> Run:
    """Return a function that trains a library in its own process, and evaluates its tables by our evaluation."""

    def run(split: Split, passes: int, rate: float, l2: float, seed: int) -> Curve:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            export(split, folder)
            options = {"passes": checks_of(passes), "rate": rate, "l2": l2, "seed": seed}
            run_peer("bpr_curve.py", library, name, "tables.npz", json.dumps(options), folder=folder)
            curve: Curve = []
            with np.load(folder / "tables.npz") as arrays:
                for check in checks_of(passes):
                    users, items = (torch.from_numpy(arrays[f"{side}-{check}"]).float() for side in ("users", "items"))
                    tables = Embeddings((users,), (items,), "mean")
                    curve.append((float(arrays[f"seconds-{check}"]), quality(split, tables)))
            return curve

    return run


def checks_of(passes: int) -> list[int]:
    """Return the passes after which quality is measured, equally far from each other."""
    every = max(1, passes // CHECKS)
    return list(range(every, every * CHECKS + 1, every))


def quality(split: Split, tables: Embeddings) -> float:
    return evaluate_scores(inner_product(tables), split.valid, split.train, metrics=(METRIC,)).means()[METRIC]


METHODS = (
    Method("cornac, uniform", RATES, L2, peer("cornac")),
    Method("implicit, uniform", RATES, L2, peer("implicit")),
    Method("ours, uniform, sgd", RATES, L2, ours({"kind": "uniform"}, "sgd")),
    Method("ours, uniform, adam", ADAM_RATES, ADAM_L2, ours({"kind": "uniform"}, "adam")),
    Method("ours, DNS(10), sgd", RATES, L2, ours({"kind": "dns", "candidates": 10}, "sgd")),
)


def best(curve: Curve) -> float:
    return max(value for _, value in curve)


def time_to(curve: Curve, target: float) -> float | None:
    return next((seconds for seconds, value in curve if value >= target), None)


def table(curves: dict[str, list[Curve]], chosen: dict[str, tuple[float, float]]) -> str:
    """Return a table of the methods: settings, best nDCG@20, and seconds to every target."""
    libraries = ("cornac, uniform", "implicit, uniform")
    targets = [(library, share) for library in libraries for share in (0.9, 1.0)]
    heads = ["method", "rate, L2", f"best validation {METRIC}"]
    heads += [
        f"s to {'the best' if share == 1 else f'{share:.0%}'} of {library.split(',')[0]}" for library, share in targets
    ]
    rows = []
    for name, own in curves.items():
        values = [best(curve) for curve in own]
        row = [
            name,
            ", ".join(f"{number:g}" for number in chosen[name]),
            f"{np.mean(values):.4f} ± {np.std(values):.4f}",
        ]
        for library, share in targets:
            times = [time_to(c, share * best(other)) for c, other in zip(own, curves[library], strict=True)]
            row.append("not reached" if None in times else spread([t for t in times if t is not None]))
        rows.append(row)
    return printers.markdown(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--passes", type=int, default=200, help="passes over the pairs; Adam has a fifth of them")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    require_peers()
    torch.set_num_threads(1)
    split, before = splits.read_split(arguments.split), load()
    chosen: dict[str, tuple[float, float]] = {}
    for method in METHODS:
        tried = {
            pair: best(method.run(split, arguments.passes, *pair, 0))
            for pair in itertools.product(method.rates, method.l2)
        }
        chosen[method.name] = max(tried, key=tried.__getitem__)
        print(f"{method.name}: {chosen[method.name]} of {len(tried)}, {METRIC} {max(tried.values()):.4f}", flush=True)
    curves: dict[str, list[Curve]] = {method.name: [] for method in METHODS}
    for turn in range(1, arguments.repeats + 1):
        for method in METHODS:
            curves[method.name].append(method.run(split, arguments.passes, *chosen[method.name], turn))
            print(f"turn {turn}, {method.name}: {best(curves[method.name][-1]):.4f}", flush=True)
    text = f"# Matrix factorisation to the same quality\n\n{arguments.split.name}; {machine()}; load {before}.\n\n"
    text += table(curves, chosen)
    print("\n" + text)
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
