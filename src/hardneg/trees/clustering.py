"""A tree over points by recursive balanced k-means (DTL-NS, encoding.py)."""

from __future__ import annotations

import warnings
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from hardneg.config import Config
from hardneg.errors import ConfigError, DataError
from hardneg.trees.codes import END, PathCodes
from hardneg.types import Flags, Floats, Indices, Progress


def assign_within_capacity(costs: Floats, capacity: int) -> Indices:
    """Assign each of n points to its cheapest of k clusters, but at most `capacity` points per cluster.

    costs: (n, k), for example squared distances to the centres. Points leave an overfull cluster for the cheapest
    cluster with free capacity, in the order of their additional cost, ties by index. Hence of two points of one cluster
    for the same target, the one that moved has no larger additional cost than the one that stayed. The released code moves
    the last items of the array instead (methods: DF6), and so places a fifth to a half of them by their index.
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


class TreeConfig(Config):
    """Shape of a tree; the defaults are those of the release."""

    children: Annotated[int, Field(ge=2, le=1000)] = 4
    """Children per node."""
    leaf_items: PositiveInt = 30
    """Maximum number of items of a leaf."""
    balance: Annotated[float, Field(ge=1)] = 1.6
    """A child of a node with n items gets at most int(balance x n / children) of them."""


def build_tree(
    points: Floats, config: TreeConfig, *, seed: int, progress: Progress | None = None, label: str = "tree"
) -> PathCodes:
    """Build a tree over items and return their path codes.

    points: (n_items, size); items with NaN get no code. Leaves depend on the points alone, not on their order; ties at a
    capacity go to the first item. A node of equal points is a leaf of any size. A tree of one leaf has the code 0.
    seed: of k-means. label: description of the progress.
    """
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    if np.isinf(points).any():
        raise DataError("found infinite coordinates, expected finite points to build a tree; train again")
    coded = np.flatnonzero(~np.isnan(points).any(axis=1))
    by_coordinates = np.lexsort(points[coded].T[::-1])  # an order that depends on the points alone
    nodes, n_done = [coded[by_coordinates]], 0
    levels: list[NDArray[np.int16]] = []
    # Sums of several threads have no fixed order, and trees would differ.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than children
        while nodes:
            level, children = np.full(len(points), END, np.int16), []
            for node in nodes:
                labels = _split(points[node], config, seed)
                if labels is None:
                    level[node] = END if levels else 0
                    n_done += len(node)
                else:
                    level[node] = labels
                    children += [node[labels == child] for child in np.unique(labels)]
                if progress:
                    progress(label, n_done, len(coded))
            nodes = children
            levels.append(level)
    codes = np.stack(levels, axis=1)
    return PathCodes(np.ascontiguousarray(codes[:, (codes != END).any(axis=0)]))


def _split(points: Floats, config: TreeConfig, seed: int) -> NDArray[np.int64] | None:
    """Return the child of each point, or None for a leaf."""
    from sklearn.cluster import KMeans

    n = len(points)
    if n <= config.leaf_items or (points == points[0]).all():
        return None
    k = min(config.children, n)
    capacity = min(max(int(config.balance * n / k), -(-n // k)), n - 1)
    centres = KMeans(k, n_init=1, random_state=seed).fit(points).cluster_centers_
    squared_distances = np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    return assign_within_capacity(squared_distances, capacity)
