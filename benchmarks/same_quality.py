"""Test quality of RecBole's LightGCN and ours, trained to the end with the same settings.

    python benchmarks/same_quality.py data/scientific-split [--seeds 5] [--epochs 300] [--out out/same-quality]

Both select their epoch on validation Recall@20 (each by its own measurement), check every 5 epochs and stop after 5 checks
without improvement. Final tables of both go through our evaluation, with training pairs masked. RecBole's tables are
verified against its own validation Recall@20. Every finished training is a file in --out, so a second call resumes. The
interval resamples users and seeds together.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_processes import EMBEDDING_SIZE, export, require_peers, run_peer

from hardneg import artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import compare_methods, evaluate_scores, inner_product
from hardneg.fitting import fit_backbone
from hardneg.models import LightGCNModel
from hardneg.models.graph import Storage
from hardneg.training import FitConfig
from hardneg.types import Embeddings

METRICS = ("recall@20", "ndcg@20")
HOPS = 3
PARTS = ("train.parquet", "valid.parquet", "test.parquet")
ROUNDING = 1e-4
"""Tolerance for scores that are equal up to rounding and may swap ranks: the recall of two users at most."""


def our_tables(
    split: Split, settings: dict[str, Any], storage: Storage = "float32"
) -> tuple[Embeddings, dict[str, int]]:
    model = LightGCNModel(split.train, embedding_size=EMBEDDING_SIZE, hops=HOPS, storage=storage, seed=settings["seed"])
    fitted = fit_backbone(model, split, config=FitConfig.model_validate(settings))
    return fitted.embeddings, {"best_epoch": fitted.state.best_iteration, "epochs": fitted.state.iteration}


def their_tables(split: Split, settings: dict[str, Any]) -> tuple[Embeddings, dict[str, int]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(split, folder)
        out = folder / "tables.npz"
        epochs = run_peer("recbole_train.py", name, str(out), json.dumps(settings), folder=folder)
        with np.load(out) as tables:
            users, items = (torch.from_numpy(tables[part]) for part in ("users", "items"))
    embeddings = Embeddings((users,), (items,), "mean")
    require_same_measure(embeddings, split, epochs.pop("valid_recall"))
    return embeddings, epochs


def require_same_measure(embeddings: Embeddings, split: Split, theirs: float) -> None:
    """Check that our validation Recall@20 of these tables equals RecBole's."""
    own = evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=("recall@20",)).means()[
        "recall@20"
    ]
    if abs(own - theirs) > ROUNDING:
        raise SystemExit(f"RecBole measures Recall@20 {theirs:.6f} on validation, we {own:.6f}: not the same tables")


TRAININGS = {"ours": our_tables, "ours, 16 bits": partial(our_tables, storage="float16"), "RecBole": their_tables}
COMPARED = ("ours", "RecBole"), ("ours, 16 bits", "RecBole"), ("ours, 16 bits", "ours")


def values_of(path: Path, name: str, split: Split, settings: dict[str, Any], inputs: str) -> dict[str, np.ndarray]:
    """Return the per-user metrics of one training; read them if it is finished, else train and write them."""
    key = json.dumps(settings | {"split": inputs}, sort_keys=True)
    if path.exists():
        metrics = dict(np.load(path))
        if str(metrics["key"]) != key:
            raise SystemExit(f"{path} belongs to other settings or data; choose another --out or remove it")
        return metrics
    embeddings, epochs = TRAININGS[name](split, settings)
    evaluation = evaluate_scores(inner_product(embeddings), split.test, split.train, metrics=METRICS)
    metrics = {"key": np.array(key)} | {field: np.array(n) for field, n in epochs.items()} | evaluation.values
    temporary = path.with_suffix(".partial")
    with temporary.open("wb") as file:
        np.savez(file, **metrics)
    temporary.rename(path)
    return metrics


def line(name: str, seed: int, run: dict[str, np.ndarray]) -> str:
    means = ", ".join(f"{metric} {run[metric].mean():.4f}" for metric in METRICS)
    return f"{name}, seed {seed}: {means}; best epoch {run['best_epoch']} of {run['epochs']}"


def report(runs: dict[str, list[dict[str, np.ndarray]]]) -> str:
    head = "| metric | compared | one, mean ± sd over seeds | other | difference [95 %] | of the other's | p | holds zero |"
    rows = [head, "| --- " * 8 + "|"]
    for metric in METRICS:
        for names in COMPARED:
            own, theirs = (np.stack([run[metric] for run in runs[name]]) for name in names)
            means = [f"{x.mean():.4f} ± {x.mean(axis=1).std(ddof=1):.4f}" for x in (own, theirs)]
            d = compare_methods(own, theirs)
            size = f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] | {d.relative:+.1%} [{d.relative_low:+.1%}, {d.relative_high:+.1%}]"
            holds = "yes" if d.low <= 0 <= d.high else "NO"
            rows.append(
                f"| {metric} | {' against '.join(names)} | {' | '.join(means)} | {size} | {d.p:.2f} | {holds} |"
            )
    epochs = [f"{name} {[int(run['best_epoch']) for run in own]}" for name, own in runs.items()]
    return "\n".join([*rows, "", f"Best epochs: {', '.join(epochs)}."])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--seeds", type=int, default=5, help="at least 3")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--l2", type=float, default=1e-2)
    parser.add_argument("--out", type=Path, default=Path("out/same-quality"), help="finished trainings and the table")
    arguments = parser.parse_args()
    require_peers()
    torch.set_num_threads(1)
    split, inputs = splits.read_split(arguments.split), artifacts.folder_hash(arguments.split, PARTS)
    arguments.out.mkdir(parents=True, exist_ok=True)
    fixed = {"epochs": arguments.epochs, "learning_rate": arguments.learning_rate, "l2": arguments.l2}
    fixed |= {"check_every": 5 if arguments.epochs >= 5 else 1, "patience": 5}
    runs: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in TRAININGS}
    for seed in range(arguments.seeds):
        for name, finished in runs.items():
            path = arguments.out / f"{name.lower()}-{seed}.npz"
            finished.append(values_of(path, name, split, fixed | {"seed": seed}, inputs))
            print(line(name, seed, finished[-1]), flush=True)
    sizes = f"{arguments.split.name}, {arguments.seeds} seeds, {len(runs['ours'][0][METRICS[0]]):,} test users, {fixed}"
    text = f"# The same quality at the same settings\n\n{sizes}\n\n{report(runs)}\n"
    (arguments.out / "same_quality.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
