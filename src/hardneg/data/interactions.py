"""Observed user-item pairs as arrays, with a fast membership test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from hardneg.errors import DataError
from hardneg.types import Flags, Indices


@dataclass(frozen=True)
class Interactions:
    """Distinct pairs sorted by user, then item; a pair's position is its *pair row*.

    users, items: (pairs,) dense indices. n_users, n_items: size of the vocabulary, also of what has no pair.
    """

    users: Indices
    items: Indices
    n_users: int
    n_items: int

    def __post_init__(self) -> None:
        if self.users.shape != self.items.shape or self.users.ndim != 1:
            raise DataError(f"found {self.users.shape} users and {self.items.shape} items, expected two equal lengths")
        if len(self.users) and (self.users.min() < 0 or self.users.max() >= self.n_users):
            raise DataError(f"found a user outside 0..{self.n_users - 1}; make the split again")
        if len(self.items) and (self.items.min() < 0 or self.items.max() >= self.n_items):
            raise DataError(f"found an item outside 0..{self.n_items - 1}; make the split again")
        if len(self.users) > 1 and (np.diff(self.keys) <= 0).any():
            raise DataError("pairs are not distinct and sorted by user and item; use Interactions.of")

    @classmethod
    def of(cls, users: Indices, items: Indices, *, n_users: int, n_items: int) -> Interactions:
        """Build from pairs in any order, repeats included."""
        users, items = np.asarray(users, np.int64), np.asarray(items, np.int64)
        if len(items) and (items.min() < 0 or items.max() >= n_items):
            raise DataError(f"found an item outside 0..{n_items - 1}; make the split again")  # else another pair's key
        keys = np.unique(users * n_items + items)
        return cls(keys // max(n_items, 1), keys % max(n_items, 1), n_users, n_items)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def keys(self) -> Indices:
        """(pairs,) one ascending number a pair."""
        return np.asarray(self.users * self.n_items + self.items)

    @cached_property
    def starts(self) -> Indices:
        """(n_users + 1,): rows starts[u]:starts[u + 1] belong to user u."""
        return np.searchsorted(self.users, np.arange(self.n_users + 1))

    @property
    def counts(self) -> Indices:
        """(n_users,) pairs per user."""
        return np.diff(self.starts)

    @property
    def item_counts(self) -> Indices:
        """(n_items,) pairs per item."""
        return np.bincount(self.items, minlength=self.n_items)

    def contains(self, users: Indices, items: Indices) -> Flags:
        """True where the pair was observed; users and items broadcast against each other."""
        if len(self) == 0:
            return np.zeros(np.broadcast(users, items).shape, bool)
        wanted = np.asarray(users) * self.n_items + items
        found = np.minimum(np.searchsorted(self.keys, wanted), len(self) - 1)
        return np.asarray(self.keys[found] == wanted)

    def items_of(self, user: int) -> Indices:
        """The items of one user, ascending."""
        return self.items[self.starts[user] : self.starts[user + 1]]

    def matrix(self) -> csr_array:
        """Users x items, 1.0 where observed."""
        ones = np.ones(len(self), np.float32)
        return csr_array((ones, self.items, self.starts), shape=(self.n_users, self.n_items))


def union(one: Interactions, other: Interactions) -> Interactions:
    """Pairs of either; the vocabulary is that of the first."""
    users, items = np.concatenate([one.users, other.users]), np.concatenate([one.items, other.items])
    return Interactions.of(users, items, n_users=one.n_users, n_items=one.n_items)
