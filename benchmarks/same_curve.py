"""Loss curves of RecBole's LightGCN and ours on the same batches and negatives: speed must not change the method.

    python benchmarks/same_curve.py data/sports-split [--epochs 10] [--out benchmarks/results/same_curve.md]

Our training records every batch, every negative and the loss of every step. RecBole's model starts from the same tables and
gets the same pairs in the same order; graph, propagation, loss and autograd are its own. The table shows means of epochs
and the largest difference of any step, since differences can cancel in a mean. In a control, RecBole gets the first
epoch's negatives in another order, which shows how large the difference is if the method differs.
"""

from __future__ import annotations

import argparse
import inspect
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peer_processes import EMBEDDING_SIZE, export, require_peers, run_peer

from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.models import LightGCNModel
from hardneg.sampling import SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, fit_model
from hardneg.types import Batch, Embeddings, Items, Negatives

HOPS = 3


@dataclass
class Recorder:
    """An observer that records (user, positive, negative) of every pair in training order."""

    parts: list[np.ndarray] = field(default_factory=list)

    def reads_tables(self, step: int) -> bool:  # noqa: ARG002
        return False

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:  # noqa: ARG002
        assert isinstance(negatives, Items)
        columns = (batch.users, batch.positives, negatives.items[:, 0])
        self.parts.append(torch.stack(columns, dim=1).numpy().astype(np.int32))

    def state(self) -> list[list[Any]]:
        return []

    def restore(self, state: list[list[Any]]) -> None:
        """Do nothing: this run writes no checkpoints."""


def our_losses(train: Interactions, epochs: int, triples_file: Path, **options: Any) -> np.ndarray:
    """Train, write the sampled triples to a file, return the losses (epochs, steps)."""
    model = LightGCNModel(train, embedding_size=EMBEDDING_SIZE, hops=HOPS, **options)
    tables = {name: getattr(model, name).detach().float().numpy().copy() for name in ("users", "items")}
    config = FitConfig(epochs=epochs, check_every=epochs)
    recorder, means = Recorder(), list[float]()
    fit_model(
        model,
        train,
        Uniform().build(SamplerInputs(EMBEDDING_SIZE, None, 0)),
        UniformCandidates(train),
        config,
        validate=lambda _: {"recall@20": 0.0},
        observers=[recorder],
        watch=lambda _epoch, _step, _steps, mean, _best: means.append(mean),
    )
    triples = np.concatenate(recorder.parts).reshape(epochs, len(train), 3)
    np.savez(triples_file, triples=triples, batch_size=config.batch_size, **tables)
    weights = rows_of_steps(len(train), config.batch_size)
    totals = np.reshape(means, (epochs, -1)) * np.cumsum(weights)  # watch gets the mean of the epoch so far
    return np.diff(totals, axis=1, prepend=0.0) / weights


def rows_of_steps(pairs: int, batch_size: int) -> np.ndarray:
    return np.diff([*range(0, pairs, batch_size), pairs])


def their_losses(folder: Path, triples_file: Path) -> np.ndarray:
    return np.array(run_peer("recbole_replay.py", str(folder), str(triples_file), folder=folder)["losses"])


def with_other_negatives(triples_file: Path, control: Path) -> None:
    """Write the first two epochs, with the negatives of the first one in another order."""
    parts = dict(np.load(triples_file))
    parts["triples"] = parts["triples"][:2]
    parts["triples"][0, :, 2] = np.random.default_rng(0).permutation(parts["triples"][0, :, 2])
    np.savez(control, **parts)


def relative(own: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return np.abs(own - theirs) / theirs


def side_by_side(name: str, own: np.ndarray, theirs: np.ndarray, control: np.ndarray, weights: np.ndarray) -> str:
    means = [np.average(losses, axis=1, weights=weights) for losses in (own, theirs)]
    steps = relative(own, theirs)
    rows = [
        f"| epoch | ours, {name} | RecBole | relative difference | largest of a step |",
        "| --- | --- | --- | --- | --- |",
    ]
    for number, (a, b, largest) in enumerate(zip(*means, steps.max(axis=1), strict=True), 1):
        rows.append(f"| {number} | {a:.6f} | {b:.6f} | {relative(a, b):.1e} | {largest:.1e} |")
    control_steps = relative(own[: len(control)], control).max(axis=1)
    summary = (
        f"Largest relative difference of any of {steps.size:,} steps, {name}: {steps.max():.1e}; {(steps > 0).mean():.0%} of "
        f"the steps differ at all. Control, negatives of epoch 1 in another order: largest of a step "
        f"{', '.join(f'{value:.1e} in epoch {number}' for number, value in enumerate(control_steps, 1))}."
    )
    return "\n".join([*rows, "", summary])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--out", type=Path, help="also write the tables to this file")
    arguments = parser.parse_args()
    require_peers()
    torch.set_num_threads(1)
    split = splits.read_split(arguments.split)
    variants: dict[str, dict[str, Any]] = {"32 bits": {}}
    if "storage" in inspect.signature(LightGCNModel).parameters:
        variants["16 bits"] = {"storage": "float16"}
    parts = [
        f"# The same losses from the same rows\n\n{arguments.split.name}, LightGCN, size 64, 3 hops, batch 2048, Adam."
    ]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        export(split, folder)
        for variant, options in variants.items():
            own = our_losses(split.train, arguments.epochs, folder / "triples.npz", **options)
            theirs = their_losses(folder, folder / "triples.npz")
            with_other_negatives(folder / "triples.npz", folder / "control.npz")
            control = their_losses(folder, folder / "control.npz")
            weights = rows_of_steps(len(split.train), FitConfig().batch_size)
            parts.append(side_by_side(variant, own, theirs, control, weights))
    text = "\n\n".join(parts) + "\n"
    print(text)
    if arguments.out is not None:
        arguments.out.parent.mkdir(parents=True, exist_ok=True)
        arguments.out.write_text(text)


if __name__ == "__main__":
    main()
