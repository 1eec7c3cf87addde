"""Candidates of users: unobserved items that a trained model ranks highest, a row a user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.errors import DataError
from hardneg.judging.suspects import Suspects
from hardneg.types import Flags, Floats, Indices


@dataclass(frozen=True)
class UserCandidates:
    """users: (n,), each once. items: (n, k), best first, then -1 where a user has fewer; no item twice in a row.

    Raises DataError where the shapes do not fit or a user or an item stands twice.
    """

    users: Indices
    items: Indices

    def __post_init__(self) -> None:
        if self.items.ndim != 2 or self.items.shape[:1] != self.users.shape:
            raise DataError(
                f"found {self.users.shape} users and candidates {self.items.shape}, expected (n,) and (n, k)"
            )
        if len(np.unique(self.users)) < len(self.users):
            raise DataError("a user has two rows of candidates, expected one; join them")
        ordered = np.sort(self.items, axis=1)
        if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
            raise DataError("a user has the same candidate twice, expected once; leave the second out")

    def __len__(self) -> int:
        return len(self.users)

    @classmethod
    def of_pairs(cls, users: Indices, items: Indices) -> UserCandidates:
        """From pairs in any order of users, a user's candidates in the order of the pairs."""
        order = np.argsort(users, kind="stable")
        found, starts, counts = np.unique(users[order], return_index=True, return_counts=True)
        rows = np.full((len(found), int(counts.max(initial=0))), -1, np.int64)
        place = np.arange(len(order)) - np.repeat(starts, counts)
        rows[np.repeat(np.arange(len(found)), counts), place] = items[order]
        return cls(found, rows)

    @property
    def present(self) -> Flags:
        """(n, k) True where there is a candidate."""
        return np.asarray(self.items >= 0)

    def judged(self, probability: Floats, judge: str) -> Suspects:
        """The candidates, a row each, with their probabilities (n, k)."""
        rows, places = np.nonzero(self.present)
        return Suspects(self.users[rows], self.items[rows, places], probability[rows, places], judge)
