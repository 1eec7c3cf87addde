"""Number of held-out pairs of each user, rounded by chance so that the shares hold over all users."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from hardneg.types import Floats, Indices

WHOLE = 1e-9
"""Largest distance of share x size from a whole number that is taken for rounding of floats: 0.1 x 30 is 3."""


def draw_held_out_counts(sizes: Indices, *, valid: float, test: float, rng: Generator) -> tuple[Indices, Indices]:
    """Return the number of test and of validation pairs of each user; at least one pair stays in train.

    sizes: (users,) number of pairs, at least 1. Each number is share x size, rounded up with the probability of its
    fraction, else down; a whole number is kept. The total of a part differs from the sum of share x size by less than
    one (systematic sampling). Among users of one size, those who get more test pairs and those who get more validation
    pairs differ as far as possible. Where a user has too few pairs for both, test comes first, and validation has less.
    """
    test_targets = np.minimum(test * sizes, sizes - 1)
    valid_targets = np.minimum(valid * sizes, sizes - 1 - test_targets)
    keys, offsets = rng.random(len(sizes)), rng.random(2)
    n_test = _round_by_chance(test_targets, sizes, keys, offsets[0])
    n_valid = _round_by_chance(valid_targets, sizes, -keys, offsets[1])
    return n_test, np.minimum(n_valid, sizes - 1 - n_test)


def _round_by_chance(targets: Floats, sizes: Indices, keys: Floats, offset: float) -> Indices:
    """Round targets (users,), which are equal for equal sizes; among users of one size the lowest keys are rounded up.

    Each size has as many of them as there are points offset, offset + 1, ... in its part of the sum of all fractions.
    """
    nearest = np.round(targets)
    targets = np.where(np.abs(targets - nearest) < WHOLE, nearest, targets)
    fractions, whole = np.modf(targets)
    order = np.lexsort((keys, sizes))
    _, starts, counts = np.unique(sizes[order], return_index=True, return_counts=True)
    n_up = np.diff(np.floor(np.cumsum(fractions[order][starts] * counts) + offset), prepend=0)
    place = np.arange(len(sizes)) - np.repeat(starts, counts)
    whole[order] += place < np.repeat(n_up, counts)
    return whole.astype(np.int64)
