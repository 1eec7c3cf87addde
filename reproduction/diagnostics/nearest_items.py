"""The catalogue items that negative embeddings are nearest to, and how much vectors spread."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.types import Floats, Indices, block_slices, unit_rows

BLOCK = 1024
"""Rows computed at once."""


@dataclass(frozen=True)
class NearestItems:
    """Kinds of the item with the largest cosine, over the pairs with a vector.

    positive, train, held_out, other: shares of pairs whose nearest item is the pair's positive, another train item of
    the user, a held-out item of the user, or none of these; they sum to 1. popularity: mean percentile of the nearest
    item by train pairs, in (0, 1), 0.5 for uniform items. distinct: number of different nearest items.
    directions: `embedding_spread` of the unit vectors; 0 if all vectors have one direction, whatever their norms.
    pairs: number of pairs with a vector.
    """

    positive: float
    train: float
    held_out: float
    other: float
    popularity: float
    distinct: int
    directions: float
    pairs: int


def nearest_catalogue_items(
    vectors: Floats, train: Interactions, held_out: Interactions, items: Floats
) -> NearestItems:
    """Look up the nearest catalogue item of every pair's vector.

    vectors: (train pairs, size) by pair index, NaN without a vector. held_out: pairs outside train (validation, test
    or both) over the same vocabulary. items: (n_items, size), the item embeddings. Raises DataError if sizes differ or
    no pair has a vector.
    """
    if len(vectors) != len(train) or vectors.shape[1] != items.shape[1]:
        raise DataError(
            f"found vectors {vectors.shape} for {len(train)} pairs and items {items.shape}, expected one vector per "
            "pair, of the items' size"
        )
    rows = np.flatnonzero(~np.isnan(vectors[:, 0]))
    if not len(rows):
        raise DataError("no pair has a vector; check the negatives folder")
    nearest, users = most_similar_items(vectors[rows], items), train.users[rows]
    is_positive = nearest == train.items[rows]
    in_train = train.contains(users, nearest) & ~is_positive
    is_held_out = held_out.contains(users, nearest) & ~is_positive & ~in_train
    return NearestItems(
        positive=float(is_positive.mean()),
        train=float(in_train.mean()),
        held_out=float(is_held_out.mean()),
        other=float((~(is_positive | in_train | is_held_out)).mean()),
        popularity=float(popularity_percentiles(train)[nearest].mean()),
        distinct=len(np.unique(nearest)),
        directions=embedding_spread(unit_rows(vectors[rows])),
        pairs=len(rows),
    )


def most_similar_items(vectors: Floats, items: Floats) -> Indices:
    """Return the item (n,) with the largest cosine to each vector, the lowest one of equals.

    vectors: (n, size). items: (n_items, size).
    """
    table = np.asarray(items, np.float32)
    table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), np.float32(1e-12))
    nearest = np.empty(len(vectors), np.int64)
    for block in block_slices(len(vectors), BLOCK):
        nearest[block] = (np.asarray(vectors[block], np.float32) @ table.T).argmax(axis=1)
    return nearest


def embedding_spread(vectors: Floats) -> float:
    """Return 1 - ||mean||^2 / mean ||.||^2 of the rows (n, size), in [0, 1]: 0 for equal rows, 1 for a mean of zero."""
    mean = np.mean(vectors, axis=0, dtype=np.float64)
    blocks = [np.asarray(vectors[block], np.float64) for block in block_slices(len(vectors), BLOCK)]
    square = sum(float(np.square(rows).sum()) for rows in blocks) / len(vectors)
    variance = sum(float(np.square(rows - mean).sum()) for rows in blocks) / len(vectors)
    return variance / square if square else 0.0


def popularity_percentiles(train: Interactions) -> Floats:
    """Return (n_items,) the share of items with fewer train pairs, ties counted half: in (0, 1), mean 0.5."""
    return np.asarray((rankdata(train.item_counts) - 0.5) / train.n_items)
