"""A tree over points: k-means again and again, balanced, until few items are left together (DTL-NS, encoding.py)."""

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
    """How a tree branches; the defaults are those of the release."""

    children: Annotated[int, Field(ge=2, le=1000)] = 4
    """Children of a node."""
    leaf_items: PositiveInt = 30
    """A node of at most so many items is a leaf."""
    balance: Annotated[float, Field(ge=1)] = 1.6
    """A child takes at most int(balance x n / children) of the n items of its node."""


def build_tree(points: Floats, config: TreeConfig, *, seed: int, progress: Progress | None = None) -> PathCodes:
    """Grow a tree and return the way to every item.

    points: (n_items, size); an item with NaN in its row gets no code. Which items share a leaf depends on the points
    alone, not on their order; of equal points at a limit the first go first. A node of equal points alone is a leaf,
    however many: nothing tells them apart. A tree that is one leaf gives all the code 0. seed: of k-means.
    """
    if np.isinf(points).any():
        raise DataError("found infinite coordinates in what a tree is grown from, expected numbers; train again")
    placed = np.flatnonzero(~np.isnan(points).any(axis=1))
    nodes, settled = [placed[_canonical(points[placed])]], 0
    levels: list[NDArray[np.int16]] = []
    with _one_thread():
        while nodes:
            level, below = np.full(len(points), END, np.int16), []
            for node in nodes:
                labels = _split(points[node], config, seed)
                if labels is None:
                    level[node] = END if levels else 0
                    settled += len(node)
                else:
                    level[node] = labels
                    below += [node[labels == child] for child in np.unique(labels)]
                if progress:
                    progress("tree", settled, len(placed))
            nodes = below
            levels.append(level)
    codes = np.stack(levels, axis=1)
    return PathCodes(np.ascontiguousarray(codes[:, (codes != END).any(axis=0)]))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums of several threads come in no fixed order, and the tree would differ now and then."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different points than children: some stay empty
        yield


def _canonical(points: Floats) -> Indices:
    """An order of points that depends on nothing but the points: by the first coordinate, then by the second, ..."""
    return np.asarray(np.lexsort(points.T[::-1]))


def _split(points: Floats, config: TreeConfig, seed: int) -> NDArray[np.int64] | None:
    """The child of each point, or None for a leaf."""
    n = len(points)
    if n <= config.leaf_items or (points == points[0]).all():
        return None
    k = min(config.children, n)
    capacity = max(int(config.balance * n / k), -(-n // k))
    return assign_within_capacity(_squared_distances(points, _centres(points, k, seed)), min(capacity, n - 1))


def _centres(points: Floats, k: int, seed: int) -> Floats:
    from sklearn.cluster import KMeans

    return np.asarray(KMeans(k, n_init=1, random_state=seed).fit(points).cluster_centers_)


def _squared_distances(points: Floats, centres: Floats) -> Floats:
    return np.stack([((points - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
