"""User-item pairs as sorted arrays with a fast membership test."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from hardneg.errors import DataError
from hardneg.types import Flags, Indices


@dataclass(frozen=True)
class Interactions:
    """Distinct pairs sorted by user, then item; a pair's position is its *pair index*.

    users, items: (pairs,) dense indices. n_users, n_items: size of the vocabulary, users and items without pairs
    included.
    """

    users: Indices
    items: Indices
    n_users: int
    n_items: int

    def __post_init__(self) -> None:
        if self.users.shape != self.items.shape or self.users.ndim != 1:
            raise DataError(f"found {self.users.shape} users and {self.items.shape} items, expected two equal lengths")
        _require_inside(self.users, self.n_users, "a user")
        _require_inside(self.items, self.n_items, "an item")
        if len(self.users) > 1 and (np.diff(self.keys) <= 0).any():
            raise DataError("pairs are not distinct and sorted by user and item; use Interactions.of")

    @classmethod
    def of(cls, users: Indices, items: Indices, *, n_users: int, n_items: int) -> Interactions:
        """Build from pairs in any order, possibly repeated."""
        users, items = np.asarray(users, np.int64), np.asarray(items, np.int64)
        _require_inside(items, n_items, "an item")  # its key would be another pair's
        keys = np.unique(users * n_items + items)
        return cls(keys // max(n_items, 1), keys % max(n_items, 1), n_users, n_items)

    def __len__(self) -> int:
        return len(self.users)

    @cached_property
    def keys(self) -> Indices:
        """One number per pair, ascending: (pairs,)."""
        return np.asarray(self.users * self.n_items + self.items)

    @cached_property
    def starts(self) -> Indices:
        """Offsets (n_users + 1,): pairs starts[u]:starts[u + 1] belong to user u."""
        return np.searchsorted(self.users, np.arange(self.n_users + 1))

    def places_of(self, users: Indices) -> tuple[Indices, Indices]:
        """Return the pair indices of users (n,), one after another, as starts (n + 1,) and indices.

        Those of users[k] are indices[starts[k]:starts[k + 1]].
        """
        counts = self.counts[users]
        starts = np.concatenate([[0], np.cumsum(counts)])
        return starts, np.arange(starts[-1]) + np.repeat(self.starts[users] - starts[:-1], counts)

    @property
    def counts(self) -> Indices:
        """Number of pairs per user: (n_users,)."""
        return np.diff(self.starts)

    @property
    def item_counts(self) -> Indices:
        """Number of pairs per item: (n_items,)."""
        return np.bincount(self.items, minlength=self.n_items)

    def contains(self, users: Indices, items: Indices) -> Flags:
        """Return flags of the pairs that are in this set; users and items are broadcast."""
        if len(self) == 0:
            return np.zeros(np.broadcast(users, items).shape, bool)
        keys = np.asarray(users) * self.n_items + items
        positions = np.minimum(np.searchsorted(self.keys, keys), len(self) - 1)
        return np.asarray(self.keys[positions] == keys)

    def items_of(self, user: int) -> Indices:
        """Return the items of one user, ascending."""
        return self.items[self.starts[user] : self.starts[user + 1]]

    def matrix(self) -> csr_array:
        """Return a sparse users x items matrix with 1.0 for every pair."""
        ones = np.ones(len(self), np.float32)
        return csr_array((ones, self.items, self.starts), shape=(self.n_users, self.n_items))


def _require_inside(numbers: Indices, size: int, name: str) -> None:
    if len(numbers) and (numbers.min() < 0 or numbers.max() >= size):
        raise DataError(f"found {name} outside 0..{size - 1}; make the split again")


def union(one: Interactions, other: Interactions) -> Interactions:
    """Return the pairs in either set, over the vocabulary of the first."""
    users, items = np.concatenate([one.users, other.users]), np.concatenate([one.items, other.items])
    return Interactions.of(users, items, n_users=one.n_users, n_items=one.n_items)
