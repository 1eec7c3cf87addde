"""Item-kNN: items with users in common."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt
from scipy import sparse
from scipy.sparse import csr_array

from hardneg.data.interactions import Interactions
from hardneg.models.baselines.config import BaselineConfig
from hardneg.models.baselines.item_item import ItemScores
from hardneg.types import block_slices

BLOCK = 1024
"""Items whose similarities are in memory at once."""


class ItemKNN(BaselineConfig):
    """Item-kNN (Sarwar et al., 2001; Deshpande & Karypis, 2004): the sum of the cosines with the user's items.

    Of every item, the cosines with its k nearest items count; of equal ones, those of lower items.
    """

    kind: Literal["item-knn"] = "item-knn"
    neighbours: PositiveInt = 100
    """Number k of nearest items; usual are 5 to 1000."""
    shrink: NonNegativeFloat = 0
    """Added to the denominator of the cosine, so that items with few users in common count less; usual are 0 to 1000."""

    def fit(self, train: Interactions, *, seed: int) -> ItemScores:  # noqa: ARG002 - nothing is random
        """Compute the cosines, a block of items at a time."""
        by_item, lengths = csr_array(train.matrix().T.astype(np.float64)), np.sqrt(train.item_counts)
        blocks = [self._nearest(by_item, lengths, block) for block in block_slices(train.n_items, BLOCK)]
        return ItemScores.of_weights(train, csr_array(sparse.vstack(blocks, format="csr").T))

    def _nearest(self, by_item: csr_array, lengths: np.ndarray, block: slice) -> csr_array:
        common = (by_item[block] @ by_item.T).tocoo()
        rows, items = common.coords
        values = common.data / (lengths[block][rows] * lengths[items] + self.shrink)
        other = items != rows + block.start
        rows, items, values = rows[other], items[other], values[other]
        order = np.lexsort((items, -values, rows))
        starts = np.searchsorted(rows[order], np.arange(len(lengths[block])))
        kept = order[np.arange(len(order)) - starts[rows[order]] < self.neighbours]
        shape = (len(lengths[block]), len(lengths))
        return csr_array((values[kept].astype(np.float32), (rows[kept], items[kept])), shape=shape)
