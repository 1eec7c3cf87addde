"""Nearest neighbours of every item, by text, by co-occurrence or, as a control, at random."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from scipy.sparse import csr_array, diags_array

from hardneg.data.interactions import Interactions
from hardneg.mining.retrieval import text_neighbours
from hardneg.sampling.item_neighbours import ItemNeighbours
from hardneg.types import Floats

BLOCK = 1024


def find_by_text(vectors: Floats, k: int, source: str) -> ItemNeighbours:
    """Return the k items with the largest cosine. vectors: (n_items, size), unit length, NaN without a text."""
    return ItemNeighbours(text_neighbours(vectors, k)[0], f"text, {source}")


def find_by_co_occurrence(train: Interactions, k: int) -> ItemNeighbours:
    """Return the k items with the largest positive cosine of columns of the training matrix."""
    sizes = np.sqrt(np.maximum(train.item_counts, 1)).astype(np.float32)
    rows = csr_array(diags_array(1 / sizes) @ train.matrix().T)
    k = min(k, train.n_items - 1)
    neighbours = np.full((train.n_items, k), -1, np.int64)
    for start in range(0, train.n_items, BLOCK):
        cosines = (rows[start : start + BLOCK] @ rows.T).toarray()
        places = np.arange(len(cosines))
        cosines[places, start + places] = 0
        best = (-cosines).argsort(axis=1, kind="stable")[:, :k]
        neighbours[start : start + BLOCK] = np.where(np.take_along_axis(cosines, best, axis=1) > 0, best, -1)
    return ItemNeighbours(neighbours, "co-occurrence")


def draw_at_random(n_items: int, k: int, rng: Generator) -> ItemNeighbours:
    """Draw k distinct other items for each item, as a control."""
    k = min(k, n_items - 1)
    others = np.stack([rng.choice(n_items - 1, size=k, replace=False) for _ in range(n_items)])
    return ItemNeighbours(others + (others >= np.arange(n_items)[:, None]), "random")
