"""RecBole's LightGCN and ours, trained to their ends at the same settings: do they rank test items equally well?

    python benchmarks/same_quality.py data/scientific-split [--seeds 5] [--epochs 300] [--out out/same-quality]

Both choose their epoch on validation Recall@20 (each by its own measurement), look every 5 epochs and end after 5 looks
without gain. Final tables of both go through our evaluation, train pairs masked;
that RecBole's tables were read aright is checked against its own validation Recall@20. Every finished training is a file in
--out; run again, the command goes on from there. The interval resamples users and seeds together.
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

from hardneg import api, artifacts
from hardneg.data import Split
from hardneg.data import split as splits
from hardneg.evaluation import compare_methods, evaluate_scores, inner_product
from hardneg.models import LightGCNModel
from hardneg.models.graph import Storage
from hardneg.training import FitConfig
from hardneg.types import Embeddings

METRICS = ("recall@20", "ndcg@20")
HOPS = 3
PARTS = ("train.parquet", "valid.parquet", "test.parquet")
ROUNDING = 1e-4
"""Two users' worth of recall at most: scores that are equal but for rounding may change places."""


def our_tables(
    split: Split, settings: dict[str, Any], storage: Storage = "float32"
) -> tuple[Embeddings, dict[str, int]]:
    model = LightGCNModel(split.train, embedding_size=EMBEDDING_SIZE, hops=HOPS, storage=storage, seed=settings["seed"])
    fitted = api.fit(model, split, config=FitConfig.model_validate(settings))
    return fitted.embeddings, {"best_epoch": fitted.state.best_iteration, "epochs": fitted.state.iteration}


def their_tables(split: Split, settings: dict[str, Any]) -> tuple[Embeddings, dict[str, int]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(split, folder)
        out = folder / "tables.npz"
        said = run_peer("recbole_train.py", name, str(out), json.dumps(settings), folder=folder)
        with np.load(out) as tables:
            users, items = (torch.from_numpy(tables[part]) for part in ("users", "items"))
    embeddings = Embeddings((users,), (items,), "mean")
    require_same_measure(embeddings, split, said.pop("valid_recall"))
    return embeddings, said


def require_same_measure(embeddings: Embeddings, split: Split, theirs: float) -> None:
    """RecBole's own validation Recall@20 of these tables must be what our evaluation says of them."""
    own = evaluate_scores(inner_product(embeddings), split.valid, split.train, metrics=("recall@20",)).means()[
        "recall@20"
    ]
    if abs(own - theirs) > ROUNDING:
        raise SystemExit(f"RecBole measures Recall@20 {theirs:.6f} on validation, we {own:.6f}: not the same tables")


TRAININGS = {"ours": our_tables, "ours, 16 bits": partial(our_tables, storage="float16"), "RecBole": their_tables}
COMPARED = ("ours", "RecBole"), ("ours, 16 bits", "RecBole"), ("ours, 16 bits", "ours")


def values_of(path: Path, name: str, split: Split, settings: dict[str, Any], inputs: str) -> dict[str, np.ndarray]:
    """Per-user metrics of one training: read where it is finished, else trained and written."""
    key = json.dumps(settings | {"split": inputs}, sort_keys=True)
    if path.exists():
        found = dict(np.load(path))
        if str(found["key"]) != key:
            raise SystemExit(f"{path} was made with other settings or data; choose another --out or remove it")
        return found
    embeddings, said = TRAININGS[name](split, settings)
    measured = evaluate_scores(inner_product(embeddings), split.test, split.train, metrics=METRICS)
    found = {"key": np.array(key)} | {what: np.array(n) for what, n in said.items()} | measured.values
    beside = path.with_suffix(".partial")
    with beside.open("wb") as file:
        np.savez(file, **found)
    beside.rename(path)
    return found


def line(name: str, seed: int, found: dict[str, np.ndarray]) -> str:
    means = ", ".join(f"{metric} {found[metric].mean():.4f}" for metric in METRICS)
    return f"{name}, seed {seed}: {means}; best epoch {found['best_epoch']} of {found['epochs']}"


def report(found: dict[str, list[dict[str, np.ndarray]]]) -> str:
    head = "| metric | compared | one, mean ± sd over seeds | other | difference [95 %] | of the other's | p | holds zero |"
    rows = [head, "| --- " * 8 + "|"]
    for metric in METRICS:
        for names in COMPARED:
            own, theirs = (np.stack([run[metric] for run in found[name]]) for name in names)
            means = [f"{x.mean():.4f} ± {x.mean(axis=1).std(ddof=1):.4f}" for x in (own, theirs)]
            d = compare_methods(own, theirs)
            size = f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] | {d.relative:+.1%} [{d.relative_low:+.1%}, {d.relative_high:+.1%}]"
            holds = "yes" if d.low <= 0 <= d.high else "NO"
            rows.append(
                f"| {metric} | {' against '.join(names)} | {' | '.join(means)} | {size} | {d.p:.2f} | {holds} |"
            )
    epochs = [f"{name} {[int(run['best_epoch']) for run in runs]}" for name, runs in found.items()]
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
    found: dict[str, list[dict[str, np.ndarray]]] = {name: [] for name in TRAININGS}
    for seed in range(arguments.seeds):
        for name, runs in found.items():
            path = arguments.out / f"{name.lower()}-{seed}.npz"
            runs.append(values_of(path, name, split, fixed | {"seed": seed}, inputs))
            print(line(name, seed, runs[-1]), flush=True)
    sizes = (
        f"{arguments.split.name}, {arguments.seeds} seeds, {len(found['ours'][0][METRICS[0]]):,} test users, {fixed}"
    )
    text = f"# The same quality at the same settings\n\n{sizes}\n\n{report(found)}\n"
    (arguments.out / "same_quality.md").write_text(text)
    print("\n" + text)


if __name__ == "__main__":
    main()
