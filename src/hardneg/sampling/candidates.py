"""Candidate sources, and the exclusion set outside which they draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions, union
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.kernels import draw_outside
from hardneg.types import Indices

ROUNDS = 30
"""Rejected draws per candidate, after which the exact complement is used."""


class CandidateSource(Protocol):
    """Draws items outside an exclusion set. Samplers choose among them."""

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Return items of shape (len(users), n). Row i belongs to users[i] and may contain an item twice.

        rows: (len(users),) pair indices. They and the stream determine every draw.
        """
        ...


@dataclass(frozen=True)
class UniformCandidates:
    """Uniform over the items outside `excluded`, which contains the training pairs and further excluded pairs."""

    excluded: Interactions

    def __post_init__(self) -> None:
        full = np.flatnonzero(self.excluded.counts >= self.excluded.n_items)
        if len(full):
            raise DataError(
                f"found {len(full)} user(s) with all {self.excluded.n_items} items (first: user {full[0]}), expected at "
                "least one item that can be a negative; drop these users before training"
            )

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw with rejection; after ROUNDS rejections draw from the exact complement."""
        items = np.empty((len(users), n), np.int64)
        excluded = self.excluded
        arguments = stream.key, stream.epoch, rows, users, excluded.n_items, (excluded.starts, excluded.items)
        in_chunks(draw_outside, len(users), *arguments, ROUNDS, items)
        return items


@dataclass(frozen=True)
class Exclusion:
    """Pairs that are never drawn as candidates.

    unrestricted_users: number of users whose suspects are not excluded, because no candidate would remain.
    """

    pairs: Interactions
    unrestricted_users: int


def exclude_suspects(train: Interactions, suspects: Interactions) -> Exclusion:
    """Exclude training pairs and suspects, but no suspects of users who would have no candidate left."""
    both = union(train, suspects)
    full = both.counts >= train.n_items
    excluded = ~full[suspects.users]
    excluded_suspects = Interactions(suspects.users[excluded], suspects.items[excluded], train.n_users, train.n_items)
    unrestricted_users = int(np.count_nonzero(full & (train.counts < train.n_items)))
    return Exclusion(both if excluded.all() else union(train, excluded_suspects), unrestricted_users)
