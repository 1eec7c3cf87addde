"""Extra positives: pairs that the loss sees beside the train pairs, each with a weight."""

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
    """Pairs that join the loss and nothing else: no mask, no graph, no exclusion set.

    pairs: none of them a train pair. weight: how much the loss of one of them counts, 1 being a train pair; with 0
    nothing is added, and training is to the bit what it is without.
    """

    pairs: Interactions
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise DataError(f"found weight {self.weight:g} of extra positives, expected a number of 0 or more")


@dataclass(frozen=True)
class Positives:
    """What an epoch passes over: the train pairs' rows, then those of the extra pairs.

    So a train pair keeps its pair row, by which artefacts are indexed; an extra pair's row is beyond all of them.
    """

    train: Interactions
    extra: ExtraPositives | None = None

    def __post_init__(self) -> None:
        if self.extra is None:
            return
        if (self.pairs.n_users, self.pairs.n_items) != (self.train.n_users, self.train.n_items):
            raise DataError("the extra positives are of another vocabulary than the train pairs; judge this split")
        observed = int(self.train.contains(self.pairs.users, self.pairs.items).sum())
        if observed:
            raise DataError(f"{observed:,} extra positives are train pairs already; leave these out")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def pairs(self) -> Interactions:
        """The extra pairs; none where there are none, or none with a weight."""
        if self.extra is not None and self.extra.weight > 0:
            return self.extra.pairs
        nothing = np.empty(0, np.int64)
        return Interactions(nothing, nothing, self.train.n_users, self.train.n_items)

    @property
    def weight(self) -> float:
        """Of an extra pair."""
        return 1.0 if self.extra is None else self.extra.weight

    @cached_property
    def users(self) -> Indices:
        """(rows,) users of all rows."""
        return np.concatenate([self.train.users, self.pairs.users])

    @cached_property
    def items(self) -> Indices:
        """(rows,) items of all rows."""
        return np.concatenate([self.train.items, self.pairs.items])

    def train_first(self, rows: Indices) -> tuple[Indices, int]:
        """The rows of a batch, those of train pairs in front, and how many these are; else in their order."""
        is_extra = rows >= len(self.train)
        n_train = len(rows) - int(is_extra.sum())
        return (rows if n_train == len(rows) else rows[np.argsort(is_extra, kind="stable")]), n_train
