"""A few neighbours of every item, by text, by co-occurrence or at random. On disk a `neighbours/` folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.random import Generator
from scipy.sparse import csr_array, diags_array

from hardneg import artifacts
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.negatives.retrieved import text_neighbours
from hardneg.types import Floats, Indices

KIND = "neighbours"
TABLE = "neighbours.npy"
BLOCK = 1024


By = Literal["text", "co-occurrence", "random"]
"""What makes an item near; random is the control."""


@dataclass(frozen=True)
class Neighbours:
    """items: (n_items, k), nearest first, then -1 where an item has fewer. source: what they are near by."""

    items: Indices
    source: str

    @cached_property
    def counts(self) -> Indices:
        """(n_items,) neighbours an item has."""
        return np.asarray((self.items >= 0).sum(axis=1))

    def nearest(self, k: int) -> Neighbours:
        """The k nearest of each item; ConfigError where fewer were kept."""
        if k > self.items.shape[1]:
            raise ConfigError(
                f"found {self.items.shape[1]} neighbours an item, expected {k}; find more with "
                f"`hardneg neighbours --k {k}`, or use fewer"
            )
        return Neighbours(self.items[:, :k], self.source)

    def drawn(self, items: Indices, units: Floats) -> Indices:
        """One neighbour of each item, all equally likely; the item itself where it has none.

        units: numbers of [0, 1), of a shape that fits that of the items; the same number gives the same neighbour.
        """
        counts = self.counts[items]
        found = self.items[items, (units * counts).astype(np.int64)]
        return np.asarray(np.where(counts > 0, found, items))


def by_text(vectors: Floats, k: int, source: str) -> Neighbours:
    """The k items of the largest cosine. vectors: (n_items, size), unit length, NaN without a text."""
    return Neighbours(text_neighbours(vectors, k)[0], f"text, {source}")


def by_co_occurrence(train: Interactions, k: int) -> Neighbours:
    """The k items that share most users with an item: cosine of the columns of the train matrix, above 0."""
    sizes = np.sqrt(np.maximum(train.item_counts, 1)).astype(np.float32)
    rows = csr_array(diags_array(1 / sizes) @ train.matrix().T)
    k = min(k, train.n_items - 1)
    found = np.full((train.n_items, k), -1, np.int64)
    for start in range(0, train.n_items, BLOCK):
        cosines = (rows[start : start + BLOCK] @ rows.T).toarray()
        places = np.arange(len(cosines))
        cosines[places, start + places] = 0
        best = (-cosines).argsort(axis=1, kind="stable")[:, :k]
        found[start : start + BLOCK] = np.where(np.take_along_axis(cosines, best, axis=1) > 0, best, -1)
    return Neighbours(found, "co-occurrence")


def at_random(n_items: int, k: int, rng: Generator) -> Neighbours:
    """The control: k other items each, all different."""
    k = min(k, n_items - 1)
    found = np.stack([rng.choice(n_items - 1, size=k, replace=False) for _ in range(n_items)])
    return Neighbours(found + (found >= np.arange(n_items)[:, None]), "random")


def write(
    folder: Path,
    neighbours: Neighbours,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    costs: Mapping[str, Any] | None = None,
) -> None:
    """Write neighbours.npy; costs: what the texts needed, for costs.json."""
    notes = {
        "source": neighbours.source,
        "items": len(neighbours.items),
        "items without a neighbour": int((neighbours.counts == 0).sum()),
    }
    with artifacts.writing(folder, KIND, config, inputs, notes) as out:
        np.save(out / TABLE, neighbours.items)
        artifacts.write_costs(out, costs)


def read(folder: Path, n_items: int) -> Neighbours:
    """Read a neighbours folder of a catalogue of so many items."""
    source = artifacts.manifest_of(folder, KIND)["notes"]["source"]
    try:
        items = np.load(folder / TABLE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / TABLE} cannot be read ({error}); find the neighbours again") from None
    if len(items) != n_items or (items.size and not -1 <= items.min() <= items.max() < n_items):
        raise DataError(
            f"{folder} has neighbours of {len(items):,} items, the split has {n_items:,}; find them from this split again"
        )
    return Neighbours(items, source)
