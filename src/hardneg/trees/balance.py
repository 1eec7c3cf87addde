"""Clusters within a capacity: what has to move is what loses least by it, not what stands last in an array.

The released code moves the last items of an array out of a child that is too large (methods: DF6), so that a fifth to a
half of the items sit where their number put them.
"""

from __future__ import annotations

import numpy as np

from hardneg.errors import ConfigError, DataError
from hardneg.types import Flags, Floats, Indices


def assign_within_capacity(costs: Floats, capacity: int) -> Indices:
    """Give each of n points one of k clusters, its cheapest, but at most `capacity` points a cluster.

    costs: (n, k), for example squared distances to the centres. Points leave a cluster that is too large for the
    cheapest cluster with room, those first whose cost grows least; of equal ones the first. So of two points of one
    cluster, if one moved and the other did not, the one that moved lost no more than the other would have.
    Returns (n,) clusters 0..k-1. Raises ConfigError where they cannot hold all points, DataError where a cost is not
    finite.
    """
    n, k = costs.shape
    if not np.isfinite(costs).all():
        raise DataError(
            f"found costs of {n} points that are not finite, expected finite ones; scale the points down, or leave out "
            "those that are no numbers"
        )
    if capacity * k < n:
        raise ConfigError(f"found {n} points for {k} clusters of {capacity}, expected room for all; raise the capacity")
    labels: Indices = np.asarray(costs.argmin(axis=1), np.int64)
    while (room := capacity - np.bincount(labels, minlength=k)).min() < 0:
        # At every turn a cluster is relieved or filled, so there are at most 2 k.
        movable = np.flatnonzero(room[labels] < 0)
        extra = np.where(room > 0, costs[movable], np.inf) - costs[movable, labels[movable]][:, None]
        order = extra.min(axis=1).argsort(kind="stable")
        movable, targets = movable[order], extra.argmin(axis=1)[order]
        moved = _until_one_is_even(labels[movable], targets, room)
        labels[movable[:moved]] = targets[:moved]
    return labels


def _until_one_is_even(sources: Indices, targets: Indices, room: Indices) -> int:
    """How many moves, in order, until the first source is small enough or the first target is full."""

    def after(moves: Flags, needed: int) -> int:
        places = np.flatnonzero(moves)
        return int(places[needed - 1]) + 1 if len(places) >= needed else len(sources)

    relieved = [after(sources == cluster, -int(room[cluster])) for cluster in np.flatnonzero(room < 0)]
    filled = [after(targets == cluster, int(room[cluster])) for cluster in np.flatnonzero(room > 0)]
    return min(relieved + filled)
