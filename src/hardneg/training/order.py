"""The pairs that an epoch trains on, in their order."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.random import Generator

from hardneg.errors import ConfigError
from hardneg.training.objective import Positives
from hardneg.types import Indices

PairOrder = Literal["each-pair", "by-user"]


def draw_order(positives: Positives, order: PairOrder, rng: Generator) -> Indices:
    """Return the pair indices of an epoch, (pairs,).

    each-pair: a permutation. by-user: draws with replacement of a user with pairs, then of one of the user's pairs, as the
    release of LightGCN does; a user with many pairs then weighs as much as one with few. A pair that an epoch draws twice has
    the same candidates both times. Raises ConfigError with extra positives.
    """
    if order == "each-pair":
        return rng.permutation(len(positives))
    if len(positives) > len(positives.train):
        raise ConfigError("found fit.order by-user, which has no place for extra positives; use fit.order each-pair")
    counts, starts = positives.train.counts, positives.train.starts
    users = rng.choice(np.flatnonzero(counts), len(positives))
    return np.asarray(starts[users] + rng.integers(0, counts[users]))
