"""Neighbours of every item, by text, by co-occurrence or at random. Stored in a `neighbours/` folder."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from hardneg import artifacts
from hardneg.errors import ConfigError, DataError
from hardneg.stage import Draft
from hardneg.types import Floats, Indices

KIND = "neighbours"
TABLE = "neighbours.npy"

NeighbourSource = Literal["text", "co-occurrence", "random"]
"""Similarity that defines neighbours; "random" is the control."""


@dataclass(frozen=True)
class ItemNeighbours:
    """Neighbours of every item.

    items: (n_items, k), nearest first, padded with -1. source: description of the similarity, for tables.
    """

    items: Indices
    source: str

    @cached_property
    def counts(self) -> Indices:
        """Number of neighbours of each item, (n_items,)."""
        return np.asarray((self.items >= 0).sum(axis=1))

    def nearest(self, k: int) -> ItemNeighbours:
        """Return the k nearest neighbours of each item. Raises ConfigError where fewer are stored."""
        if k > self.items.shape[1]:
            raise ConfigError(
                f"found {self.items.shape[1]} neighbours per item, expected {k}; find more with "
                f"`hardneg neighbours find --k {k}`, or use fewer"
            )
        return ItemNeighbours(self.items[:, :k], self.source)

    def draw(self, items: Indices, units: Floats) -> Indices:
        """Draw one neighbour of each item, all equally likely. An item without neighbours is returned itself.

        units: random numbers in [0, 1), of a shape that broadcasts with `items`.
        """
        counts = self.counts[items]
        neighbours = self.items[items, (units * counts).astype(np.int64)]
        return np.asarray(np.where(counts > 0, neighbours, items))


def write_neighbours(draft: Draft, neighbours: ItemNeighbours) -> None:
    """Write neighbours.npy."""
    draft.notes |= {
        "source": neighbours.source,
        "items": len(neighbours.items),
        "items without a neighbour": int((neighbours.counts == 0).sum()),
    }
    np.save(draft.folder / TABLE, neighbours.items)


def read_neighbours(folder: Path, n_items: int) -> ItemNeighbours:
    """Read a neighbours folder. Raises DataError where it is not of a catalogue of `n_items` items."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    try:
        items = np.load(folder / TABLE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / TABLE} cannot be read ({error}); build the folder again") from None
    if len(items) != n_items or (items.size and not -1 <= items.min() <= items.max() < n_items):
        raise DataError(
            f"found neighbours of {len(items):,} items in {folder}, expected {n_items:,} as in the split; build them from "
            "this split"
        )
    return ItemNeighbours(items, source)
