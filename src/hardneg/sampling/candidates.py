"""Where candidates come from: items that a user has not been observed with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.kernels import draw_outside
from hardneg.types import Indices

ROUNDS = 30
"""Draws for one place before the exact complement is used."""


class CandidateSource(Protocol):
    """Draws items outside an exclusion set; samplers choose among them."""

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Return items of shape (len(users), n); row i belongs to users[i]. Repeats within a row are possible.

        rows: (len(users),) pair rows; with the stream they decide every number.
        """
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

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw, and draw again what was observed; after 30 draws for one place take it from the exact complement."""
        items = np.empty((len(users), n), np.int64)
        known = self.excluded
        where = stream.key, stream.epoch, rows, users, known.n_items, known.starts, known.items
        in_chunks(draw_outside, len(users), *where, ROUNDS, items)
        return items
