"""Which catalogue items vectors lie nearest to: the positive, others of the user, held-out ones, popular ones? Feeds nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from hardneg.data.interactions import Interactions
from hardneg.diagnostics.semantic_gap import embedding_spread, nearest_items
from hardneg.errors import DataError
from hardneg.types import Floats, Indices, unit_rows


@dataclass(frozen=True)
class NearestItems:
    """What the item of the largest cosine is, over pairs with a vector.

    positive, train, held_out, other: shares of pairs, summing to 1: the pair's own positive, another train item of its
    user, a held-out item of its user, none of these. popularity: mean percentile of the nearest by train degree, in
    (0, 1), .5 for items drawn evenly. distinct: different nearest items over all pairs; 1 where one vector serves all.
    directions: `embedding_spread` of the vectors scaled to length 1; 0 where all point the same way, which the spread of vectors
    hides once their norms are matched to items. pairs: with a vector.
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

    vectors: (train pairs, size) by pair row, NaN where there is none. held_out: pairs that training does not read
    (validation, test, or both), over the same vocabulary. items: (n_items, size), the table that the vectors are served
    beside. Raises DataError where sizes do not fit or no pair has a vector.
    """
    if len(vectors) != len(train) or vectors.shape[1] != items.shape[1]:
        raise DataError(
            f"found vectors {vectors.shape} for {len(train)} pairs and items {items.shape}, expected a vector for every "
            "pair, of the items' size"
        )
    rows = np.flatnonzero(~np.isnan(vectors[:, 0]))
    if not len(rows):
        raise DataError("no pair has a vector; check the negatives folder")
    nearest, users = nearest_items(vectors[rows], items), train.users[rows]
    positive = nearest == train.items[rows]
    theirs = train.contains(users, nearest) & ~positive
    ahead = held_out.contains(users, nearest) & ~positive & ~theirs
    flags = positive, theirs, ahead, ~(positive | theirs | ahead)
    popularity = float(popularity_percentiles(train)[nearest].mean())
    of_positive, of_train, of_held_out, of_others = (float(flag.mean()) for flag in flags)
    distinct, directions = len(np.unique(nearest)), embedding_spread(unit_rows(vectors[rows]))
    return NearestItems(of_positive, of_train, of_held_out, of_others, popularity, distinct, directions, len(rows))


def popularity_percentiles(train: Interactions) -> Floats:
    """(n_items,) share of items with fewer train pairs, equals counting half: in (0, 1), mean .5."""
    degrees: Indices = train.item_counts
    return np.asarray((rankdata(degrees) - 0.5) / len(degrees))
