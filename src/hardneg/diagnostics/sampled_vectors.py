"""What a sampler served, epoch by epoch, as vectors: false by held-out items, and far from the item table? Feeds nothing."""

from __future__ import annotations

from typing import Any

import polars as pl
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.diagnostics.false_hard import false_hard_negatives
from hardneg.diagnostics.semantic_gap import semantic_behavioural_gap
from hardneg.random import generator
from hardneg.types import Batch, Embeddings, Floats, Items, Negatives

SAMPLE = 1024
"""Pairs of an epoch's first batch that are measured."""
SCHEMA = {
    "epoch": pl.Int64,
    "vectors": pl.String,
    "false": pl.Float64,
    "random_false": pl.Float64,
    "measured": pl.Int64,
    "cosine_with_positives": pl.Float64,
    "cosine_with_nearest": pl.Float64,
    "cka_with_positives": pl.Float64,
    "cka_with_nearest": pl.Float64,
    "spread": pl.Float64,
    "pairs": pl.Int64,
}


class SampledVectors:
    """False hard negatives as the paper counts them, and the semantic-behavioural gap, of every epoch (a training observer).

    Of the pairs' first negatives (an item counts as its pooled embedding), vectors "served"; and where a sampler mixed
    what it made with an item, vectors "e_hard", as they were before. It reads test pairs: what it finds must
    stay out of everything that a run is chosen by or named after.
    """

    def __init__(self, test: Interactions, *, seed: int = 0) -> None:
        self.test, self.seed = test, seed
        self._rows: list[list[Any]] = []

    def reads_tables(self, step: int) -> bool:
        """In the first step of an epoch."""
        return step == 0

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
        """Measure the first step of an epoch."""
        if batch.step != 0 or embeddings is None:
            return
        items = _array(embeddings.final_items)
        if isinstance(negatives, Items):
            self._measure(batch, "served", items[negatives.items[:SAMPLE, 0].cpu().numpy()], items)
            return
        self._measure(batch, "served", _array(negatives.vectors[:SAMPLE, 0]), items)
        if negatives.hard is not None:
            self._measure(batch, "e_hard", _array(negatives.hard[:SAMPLE, 0]), items)

    def table(self) -> pl.DataFrame:
        """Columns of SCHEMA: shares of false vectors, and the figures of `Gap`, null where one is undefined."""
        return pl.DataFrame(self._rows, schema=SCHEMA, orient="row")

    def state(self) -> list[list[Any]]:
        """The table's rows."""
        return self._rows

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from `state`."""
        self._rows = state

    def _measure(self, batch: Batch, name: str, vectors: Floats, items: Floats) -> None:
        users, positives = (part[: len(vectors)].cpu().numpy() for part in (batch.users, batch.positives))
        rng = generator(self.seed, f"random vectors beside {name}", batch.epoch)
        false = false_hard_negatives(vectors, users, items, self.test, rng)
        gap = semantic_behavioural_gap(vectors, positives, items)
        row = [batch.epoch, name, false.share, false.random, false.measured]
        self._rows.append(row + list(vars(gap).values()))


def _array(tensor: Tensor) -> Floats:
    with torch.no_grad():
        found: Floats = tensor.detach().cpu().numpy()
    return found
