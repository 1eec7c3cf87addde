"""False hard negatives as HNLMRec counts them: vectors that lie on a held-out item of their user. Feeds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.types import Flags, Floats, Indices, unit_rows

THRESHOLD = 0.99
"""Cosine above which a vector counts as the item itself (HNLMRec, section 5.5)."""
COMPARISONS = 65_536
"""Pairs of a vector and an item that are compared at once."""


@dataclass(frozen=True)
class FalseHardNegatives:
    """share: of the measured vectors, those that are false, in [0, 1]; None where none was measured. random: the same of
    random vectors in their place. measured: vectors. left_out: pairs without a vector, or whose user has no test item."""

    share: float | None
    random: float | None
    measured: int
    left_out: int


def false_hard_negatives(
    vectors: Floats,
    users: Indices,
    items: Floats,
    test: Interactions,
    rng: Generator,
    *,
    threshold: float = THRESHOLD,
) -> FalseHardNegatives:
    """Count vectors whose cosine with any test item of their user is above the threshold (HNLMRec, section 5.5).

    vectors: (pairs, size), NaN where there is none. users: (pairs,). items: (n_items, size), the item table that the
    vectors are served beside. Random Gaussian vectors, whose norm no cosine sees, are counted in the same way: they lie
    far from everything and win, so that a low share alone praises nobody. The paper counts 10 users; give their rows for that.
    """
    if len(vectors) != len(users) or vectors.shape[1] != items.shape[1]:
        raise DataError(
            f"found vectors {vectors.shape}, {len(users)} users and items {items.shape}, expected a user for every "
            "vector and vectors of the items' size"
        )
    rows = np.flatnonzero(~np.isnan(vectors[:, 0]) & (test.counts[users] > 0))
    table, false, noise = unit_rows(np.asarray(items, np.float32)), 0, 0
    for block in _blocks(rows, test.counts[users]):
        found = unit_rows(np.asarray(vectors[block], np.float32))
        drawn = unit_rows(rng.standard_normal(found.shape, np.float32))
        false += int(_on_a_test_item(found, users[block], table, test, threshold).sum())
        noise += int(_on_a_test_item(drawn, users[block], table, test, threshold).sum())
    n, left_out = len(rows), len(vectors) - len(rows)
    return FalseHardNegatives(false / n if n else None, noise / n if n else None, n, left_out)


def _blocks(rows: Indices, counts: Indices) -> Iterator[Indices]:
    """The rows in pieces of about COMPARISONS comparisons; counts: (pairs,) test items of each pair's user."""
    ends = np.cumsum(counts[rows])
    if len(rows):
        places = np.searchsorted(ends, np.arange(COMPARISONS, ends[-1], COMPARISONS))
        yield from (piece for piece in np.split(rows, np.unique(places)) if len(piece))


def _on_a_test_item(unit: Floats, users: Indices, items: Floats, test: Interactions, threshold: float) -> Flags:
    """(rows,) True where the largest cosine with a test item of the user, who has one at least, is above the threshold."""
    counts = test.counts[users]
    firsts = np.cumsum(counts) - counts
    within = np.arange(counts.sum()) - np.repeat(firsts, counts)
    theirs = test.items[np.repeat(test.starts[users], counts) + within]
    cosines = np.einsum("bd,bd->b", unit[np.repeat(np.arange(len(users)), counts)], items[theirs])
    return np.asarray(np.maximum.reduceat(cosines, firsts) > threshold)
