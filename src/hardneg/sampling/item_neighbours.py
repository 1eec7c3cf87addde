"""A few neighbours of every item, by text, by co-occurrence or at random. On disk a `neighbours/` folder."""

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
"""What makes an item near; random is the control."""


@dataclass(frozen=True)
class ItemNeighbours:
    """items: (n_items, k), nearest first, then -1 where an item has fewer. source: what they are near by."""

    items: Indices
    source: str

    @cached_property
    def counts(self) -> Indices:
        """(n_items,) neighbours an item has."""
        return np.asarray((self.items >= 0).sum(axis=1))

    def nearest(self, k: int) -> ItemNeighbours:
        """The k nearest of each item; ConfigError where fewer were kept."""
        if k > self.items.shape[1]:
            raise ConfigError(
                f"found {self.items.shape[1]} neighbours an item, expected {k}; find more with "
                f"`hardneg neighbours --k {k}`, or use fewer"
            )
        return ItemNeighbours(self.items[:, :k], self.source)

    def draw(self, items: Indices, units: Floats) -> Indices:
        """One neighbour of each item, all equally likely; the item itself where it has none.

        units: numbers of [0, 1), of a shape that fits that of the items; the same number gives the same neighbour.
        """
        counts = self.counts[items]
        found = self.items[items, (units * counts).astype(np.int64)]
        return np.asarray(np.where(counts > 0, found, items))


def write_neighbours(draft: Draft, neighbours: ItemNeighbours) -> None:
    """Write neighbours.npy."""
    draft.notes |= {
        "source": neighbours.source,
        "items": len(neighbours.items),
        "items without a neighbour": int((neighbours.counts == 0).sum()),
    }
    np.save(draft.folder / TABLE, neighbours.items)


def read_neighbours(folder: Path, n_items: int) -> ItemNeighbours:
    """Read a neighbours folder of a catalogue of so many items."""
    source = artifacts.read_manifest(folder, KIND)["notes"]["source"]
    try:
        items = np.load(folder / TABLE, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / TABLE} cannot be read ({error}); find the neighbours again") from None
    if len(items) != n_items or (items.size and not -1 <= items.min() <= items.max() < n_items):
        raise DataError(
            f"{folder} has neighbours of {len(items):,} items, the split has {n_items:,}; find them from this split again"
        )
    return ItemNeighbours(items, source)
