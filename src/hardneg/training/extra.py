"""Extra positives: weighted pairs in the loss beside the training pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.types import Indices


@dataclass(frozen=True)
class ExtraPositives:
    """Pairs that are added to the loss only: not to masks, the graph or the exclusion set.

    pairs: must not contain training pairs. weight: of a pair's loss, relative to a training pair; 0 leaves the pairs out,
    so that training has the same bits as without them.
    """

    pairs: Interactions
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise DataError(f"found weight {self.weight:g} of extra positives, expected a number of 0 or more")


@dataclass(frozen=True)
class Positives:
    """The pairs of an epoch: training pairs, then extra pairs.

    A training pair keeps its pair index, which artifacts refer to; indices of extra pairs follow after all of them.
    """

    train: Interactions
    extra: ExtraPositives | None = None

    def __post_init__(self) -> None:
        if self.extra is None:
            return
        if (self.pairs.n_users, self.pairs.n_items) != (self.train.n_users, self.train.n_items):
            raise DataError(
                f"found extra positives of {self.pairs.n_users} users and {self.pairs.n_items} items, expected "
                f"{self.train.n_users} and {self.train.n_items}; make them from this split"
            )
        observed = int(self.train.contains(self.pairs.users, self.pairs.items).sum())
        if observed:
            raise DataError(f"found {observed:,} train pairs among the extra positives, expected none; leave them out")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def pairs(self) -> Interactions:
        """Extra pairs; empty if there are none or their weight is 0."""
        if self.extra is not None and self.extra.weight > 0:
            return self.extra.pairs
        nothing = np.empty(0, np.int64)
        return Interactions(nothing, nothing, self.train.n_users, self.train.n_items)

    @property
    def weight(self) -> float:
        """Weight of an extra pair."""
        return 1.0 if self.extra is None else self.extra.weight

    @cached_property
    def users(self) -> Indices:
        """Users of all pairs, (pairs,)."""
        return np.concatenate([self.train.users, self.pairs.users])

    @cached_property
    def items(self) -> Indices:
        """Items of all pairs, (pairs,)."""
        return np.concatenate([self.train.items, self.pairs.items])

    def train_first(self, rows: Indices) -> tuple[Indices, int]:
        """Move the training pairs of a batch to the front, in stable order; return pair indices and their number."""
        is_extra = rows >= len(self.train)
        n_train = len(rows) - int(is_extra.sum())
        return (rows if n_train == len(rows) else rows[np.argsort(is_extra, kind="stable")]), n_train
