"""Candidates of users: unobserved items that a trained model ranks highest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.errors import DataError
from hardneg.judging.suspects import Suspects
from hardneg.types import Flags, Floats, Indices


@dataclass(frozen=True)
class UserCandidates:
    """Candidates, one row per user.

    users: (n,), distinct. items: (n, k), best first, padded with -1, distinct within a row. Raises DataError where the
    shapes do not match or a user or an item of a row is repeated.
    """

    users: Indices
    items: Indices

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.shape[:1] != self.users.shape:
            raise DataError(
                f"found users of shape {self.users.shape} and candidates of shape {self.items.shape}, expected (n,) and (n, k)"
            )
        if len(np.unique(self.users)) < len(self.users):
            raise DataError("found a user with two rows of candidates, expected one; join them")
        ordered = np.sort(self.items, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise DataError("found a candidate twice for one user, expected it once; leave the second out")

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def from_pairs(cls, users: Indices, items: Indices) -> UserCandidates:
        """Group pairs by user; the candidates of a user keep the order of the pairs."""
        order = np.argsort(users, kind="stable")
        distinct, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
        rows = np.full((len(distinct), int(counts.max(initial=0))), -1, np.int64)
        place = np.arange(len(order)) - np.repeat(starts, counts)
        rows[np.repeat(np.arange(len(distinct)), counts), place] = items[order]
        return cls(distinct, rows)

    @property
    def present(self) -> Flags:
        """True where there is a candidate, (n, k)."""
        return np.asarray(self.items >= 0)

    def to_suspects(self, probability: Floats, judge: str) -> Suspects:
        """Return the candidates with their probabilities (n, k), one row per candidate."""
        rows, places = np.nonzero(self.present)
        return Suspects(self.users[rows], self.items[rows, places], probability[rows, places], judge)
