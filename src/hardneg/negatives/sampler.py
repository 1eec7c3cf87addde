"""The seam of every sampler, and the small things that samplers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor

from hardneg.negatives.mined import Mined
from hardneg.types import Batch, Embeddings, Negatives


class NegativeSampler(Protocol):
    """Chooses or makes the negatives of a batch.

    A sampler with parameters of its own is an nn.Module; the loop trains them with the backbone's.
    """

    @property
    def n_candidates(self) -> int:
        """How many candidates per pair the loop draws for it."""
        ...

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, rng: Generator) -> Negatives:
        """Return negatives for every pair of the batch.

        candidates: (batch, n_candidates) items outside the exclusion set. rng: this batch's own numbers.
        """
        ...


@dataclass(frozen=True)
class Ingredients:
    """What a sampler may be built from besides its options.

    final_size: length of a pooled embedding. mined: negatives from text, or None. seed: for parameters.
    """

    final_size: int
    mined: Mined | None
    seed: int


def rows(table: Tensor, index: Tensor) -> Tensor:
    """table (n, size) at index (any shape) -> (..., size), with a fast dense gradient."""
    return F.embedding(index, table)


def scores(users: Tensor, items: Tensor) -> Tensor:
    """Inner products: users (batch, size), items (batch, n, size) -> (batch, n)."""
    return (items @ users.unsqueeze(2)).squeeze(2)
