"""Implicit ALS: matrix factorisation by alternating least squares, with a weight for observed pairs."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from scipy.sparse import csr_array

from hardneg.compiled import in_chunks
from hardneg.config import Steps, VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.baselines.config import BaselineConfig
from hardneg.models.baselines.item_item import ItemScores
from hardneg.models.kernels import solve_rows
from hardneg.random import generator
from hardneg.types import Embeddings, Floats


class ALS(BaselineConfig):
    """Implicit ALS (Hu et al., 2008): least squares of 1 for train pairs, of weight 1 + alpha, and of 0 for all others.

    Every row is solved exactly (eq. 4 and 5), in 64 bits. The item table starts at random; users come first.
    """

    kind: Literal["als"] = "als"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    iterations: Steps = 15
    """Number of passes over users and items."""
    alpha: NonNegativeFloat = 10
    """Additional weight of a train pair; the paper takes 40."""
    l2: PositiveFloat = 1.0
    """Weight of the squared norm of every row."""

    def fit(self, train: Interactions, *, seed: int) -> ItemScores:
        """Alternate between users and items."""
        matrix, size = csr_array(train.matrix()), self.embedding_size
        by_item = csr_array(matrix.T)
        items: Floats = generator(seed, "start of ALS items").standard_normal((train.n_items, size)) / np.sqrt(size)
        users: Floats = np.zeros((train.n_users, size))
        for _ in range(self.iterations):
            users = self._solve(matrix, items)
            items = self._solve(by_item, users)
        user_table, item_table = (torch.from_numpy(table.astype(np.float32)) for table in (users, items))
        return ItemScores(Embeddings((user_table,), (item_table,), "mean"))

    def _solve(self, matrix: csr_array, others: Floats) -> Floats:
        """Return the best rows (rows, size), given those of the other side."""
        gram = others.T @ others + self.l2 * np.eye(others.shape[1])
        out, starts = np.empty((matrix.shape[0], others.shape[1])), matrix.indptr.astype(np.int64)
        in_chunks(solve_rows, len(out), starts, matrix.indices.astype(np.int64), others, gram, self.alpha, out)
        return out
