"""Assignment of points to clusters of limited capacity, at the least additional cost.

The released code moves the last items of an array out of a child that is too large (methods: DF6), so that a fifth to a
half of the items are placed by their index.
"""

from __future__ import annotations

import numpy as np

from hardneg.errors import ConfigError, DataError
from hardneg.types import Flags, Floats, Indices


def assign_within_capacity(costs: Floats, capacity: int) -> Indices:
    """Assign each of n points to its cheapest of k clusters, but at most `capacity` points per cluster.

    costs: (n, k), for example squared distances to the centres. Points leave an overfull cluster for the cheapest
    cluster with free capacity, in the order of their additional cost, ties by index. Hence of two points of one cluster
    for the same target, the one that moved has no larger additional cost than the one that stayed.
    Returns (n,) clusters 0..k-1. Raises ConfigError where they cannot hold all points, DataError where a cost is not
    finite.
    """
    n, k = costs.shape
    if not np.isfinite(costs).all():
        raise DataError(
            f"found costs of {n} points that are not all finite, expected finite ones; scale the points down, or drop NaN"
        )
    if capacity * k < n:
        raise ConfigError(
            f"found {n} points for {k} clusters of {capacity}, expected at most {k * capacity}; raise the capacity"
        )
    labels: Indices = np.asarray(costs.argmin(axis=1), np.int64)
    while (free := capacity - np.bincount(labels, minlength=k)).min() < 0:
        # Every iteration relieves or fills a cluster, so there are at most 2 k iterations.
        movable = np.flatnonzero(free[labels] < 0)
        extra = np.where(free > 0, costs[movable], np.inf) - costs[movable, labels[movable]][:, None]
        order = extra.min(axis=1).argsort(kind="stable")
        movable, targets = movable[order], extra.argmin(axis=1)[order]
        n_moves = _count_moves(labels[movable], targets, free)
        labels[movable[:n_moves]] = targets[:n_moves]
    return labels


def _count_moves(sources: Indices, targets: Indices, free: Indices) -> int:
    """Return the number of moves, in order, until a source is within capacity or a target is full."""

    def moves_until(matches: Flags, needed: int) -> int:
        positions = np.flatnonzero(matches)
        return int(positions[needed - 1]) + 1 if len(positions) >= needed else len(sources)

    relieved = [moves_until(sources == cluster, -int(free[cluster])) for cluster in np.flatnonzero(free < 0)]
    filled = [moves_until(targets == cluster, int(free[cluster])) for cluster in np.flatnonzero(free > 0)]
    return min(relieved + filled)
