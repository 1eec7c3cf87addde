"""Scores by a matrix of items: a user's score of an item is the sum of its weights to the user's train items."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.types import Embeddings, Floats, Indices

ItemWeights = csr_array | Floats
"""(n_items, n_items) float32, sparse or dense: row = train item, column = scored item."""


@dataclass(frozen=True)
class ItemItem:
    """Score function of an item-item model: s(u, j) = sum of weights[i, j] over the train items i of u."""

    train: Interactions
    weights: ItemWeights

    def __call__(self, block: Indices) -> Tensor:
        """Return the scores (block, n_items) of users (block,)."""
        scores = self._rows(block) @ self.weights
        return torch.from_numpy(np.ascontiguousarray(scores if isinstance(scores, np.ndarray) else scores.toarray()))

    def _rows(self, block: Indices) -> csr_array:
        starts, counts = self.train.starts[block], self.train.counts[block]
        ends = np.concatenate([[0], np.cumsum(counts)])
        places = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], counts)
        values = np.ones(len(places), np.float32)
        return csr_array((values, self.train.items[places], ends), shape=(len(block), self.train.n_items))


@dataclass(frozen=True)
class ItemScores:
    """Scores of a baseline: the inner product of embeddings, or those of an item-item model.

    embeddings: of size 0 where weights give the scores. weights: None where embeddings do.
    """

    embeddings: Embeddings
    weights: ItemWeights | None = None

    @classmethod
    def of_weights(cls, train: Interactions, weights: ItemWeights) -> ItemScores:
        """Return the scores of an item-item model."""
        users, items = torch.zeros(train.n_users, 0), torch.zeros(train.n_items, 0)
        return cls(Embeddings((users,), (items,), "mean"), weights)
