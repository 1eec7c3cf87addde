"""Where candidates come from: items that a user has not been observed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.random import Generator

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.types import Indices

ROUNDS = 30
"""Rounds of rejection before the exact complement is used."""


class CandidateSource(Protocol):
    """Draws items outside an exclusion set; samplers choose among them."""

    def draw(self, users: Indices, *, n: int, rng: Generator) -> Indices:
        """Return items of shape (len(users), n); row i belongs to users[i]. Repeats within a row are possible."""
        ...


@dataclass(frozen=True)
class UniformCandidates:
    """Uniform over the items outside `excluded`: observed train pairs, and whatever else shall not be drawn."""

    excluded: Interactions

    def __post_init__(self) -> None:
        full = np.flatnonzero(self.excluded.counts >= self.excluded.n_items)
        if len(full):
            raise DataError(
                f"{len(full)} user(s) have all {self.excluded.n_items} items (first: user {full[0]}), "
                "so no negative exists for them; drop them before training"
            )

    def draw(self, users: Indices, *, n: int, rng: Generator) -> Indices:
        """Draw, and draw again what was observed; after 30 rounds draw the rest from the exact complement."""
        items = rng.integers(self.excluded.n_items, size=(len(users), n))
        rows, places = np.nonzero(self.excluded.contains(users[:, None], items))
        for _ in range(ROUNDS):
            if not len(rows):
                return items
            items[rows, places] = rng.integers(self.excluded.n_items, size=len(rows))
            clash = self.excluded.contains(users[rows], items[rows, places])
            rows, places = rows[clash], places[clash]
        items[rows, places] = self._from_complement(users[rows], rng)
        return items

    def _from_complement(self, users: Indices, rng: Generator) -> Indices:
        """Exact draw: the r-th free item of a user lies where r free items precede it among the taken ones.

        With taken items t_0 < t_1 < ..., t_j - j is the number of free items below t_j; the answer to rank r is r
        plus the number of j with t_j - j <= r.
        """
        counts = self.excluded.counts[users]
        ranks = (rng.random(len(users)) * (self.excluded.n_items - counts)).astype(np.int64)
        starts = self.excluded.starts[users]
        own = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        taken = self.excluded.items[np.repeat(starts, counts) + own]
        passed = taken - own <= np.repeat(ranks, counts)
        return ranks + np.bincount(
            np.repeat(np.arange(len(users)), counts), weights=passed, minlength=len(users)
        ).astype(np.int64)
