"""A tree over points by recursive balanced k-means (DTL-NS, encoding.py)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from hardneg.config import Config
from hardneg.errors import DataError
from hardneg.trees.balance import assign_within_capacity
from hardneg.trees.codes import END, PathCodes
from hardneg.types import Floats, Indices, Progress


class TreeConfig(Config):
    """Shape of a tree; the defaults are those of the release."""

    children: Annotated[int, Field(ge=2, le=1000)] = 4
    """Children per node."""
    leaf_items: PositiveInt = 30
    """Maximum number of items of a leaf."""
    balance: Annotated[float, Field(ge=1)] = 1.6
    """A child of a node with n items gets at most int(balance x n / children) of them."""


def build_tree(points: Floats, config: TreeConfig, *, seed: int, progress: Progress | None = None) -> PathCodes:
    """Build a tree over items and return their path codes.

    points: (n_items, size); items with NaN get no code. Leaves depend on the points alone, not on their order; ties at a
    capacity go to the first item. A node of equal points is a leaf of any size. A tree of one leaf has the code 0.
    seed: of k-means.
    """
    if np.isinf(points).any():
        raise DataError("found infinite coordinates, expected finite points to build a tree; train again")
    coded = np.flatnonzero(~np.isnan(points).any(axis=1))
    nodes, n_done = [coded[_canonical_order(points[coded])]], 0
    levels: list[NDArray[np.int16]] = []
    with _deterministic_kmeans():
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
                    progress("tree", n_done, len(coded))
            nodes = children
            levels.append(level)
    codes = np.stack(levels, axis=1)
    return PathCodes(np.ascontiguousarray(codes[:, (codes != END).any(axis=0)]))


@contextmanager
def _deterministic_kmeans() -> Iterator[None]:
    """Limit k-means to one thread: sums of several threads have no fixed order, and trees would differ."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct points than children
        yield


def _canonical_order(points: Floats) -> Indices:
    """Return an order that depends on the points alone: by the first coordinate, then the second, ..."""
    return np.asarray(np.lexsort(points.T[::-1]))


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
