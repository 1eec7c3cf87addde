"""Item graph of the structural tree (DTL-NS), and its spectral embedding.

w_ij = |Ui & Uj| / |Ui | Uj|, with Ui the train users of item i. A graph larger than `most_edges` keeps only the
strongest edges of every item. The embedding is made of the largest eigenpairs of D^-1/2 W D^-1/2, the smallest ones of
the normalised Laplacian. Every connected component adds an eigenvector of eigenvalue 1 (a null vector of the Laplacian)
that only identifies the component; all of them are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from hardneg.compiled import compiled, in_chunks
from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Flags, Floats, Indices, Progress, block_slices

BLOCK = 1 << 14
"""Items per progress report."""
TOLERANCE = 1e-4
"""Relative accuracy of the eigenvalues, as released."""
DENSE = 400
"""Maximum number of items for which the full spectrum is computed."""
SHIFT = 3.0
"""Shift of the null vectors' eigenvalue, from 1 to below all others, which lie in [-1, 1]."""


class GraphConfig(Config):
    """Limits on time and memory; catalogues of some ten thousand items reach neither."""

    most_edges: PositiveInt = 32_000_000
    """Maximum number of stored (item, neighbour) entries of 8 bytes. Where all might not fit, every item keeps the same
    number of strongest edges. An edge stays if one of its ends keeps it, so that the graph may have up to twice as many
    entries."""
    most_history: PositiveInt = 2_000
    """Maximum train items of a user; larger histories are sampled, since work is quadratic in their length."""


@dataclass(frozen=True)
class ItemGraph:
    """Weighted item graph.

    weights: (n_items, n_items), symmetric, float32 in (0, 1], zero diagonal. cap: neighbours kept per item, None for
    all. cut_items: number of items that had more. cut_users: number of users whose history was sampled.
    """

    weights: csr_array
    cap: int | None
    cut_items: int
    cut_users: int

    def notes(self) -> dict[str, Any]:
        """Return the entries for a manifest."""
        return {
            "item graph edges": self.weights.nnz // 2,
            "item graph exact": self.cut_items == self.cut_users == 0,
            "neighbours kept an item": "all" if self.cap is None else self.cap,
            "items with more neighbours": self.cut_items,
            "users whose history was sampled": self.cut_users,
        }


def jaccard_graph(
    train: Interactions, config: GraphConfig, rng: Generator, progress: Progress | None = None
) -> ItemGraph:
    """Build the graph of items that share a user. rng: only samples histories above `most_history`."""
    sample = _sample_histories(train, config.most_history, rng)
    by_item = csr_array(sample.matrix().T.tocsr())
    bounds = np.minimum(by_item @ (sample.counts - 1), train.n_items - 1).astype(np.int64)
    cap = _neighbour_cap(bounds, config.most_edges)
    graph, cut = _strongest_edges(sample, by_item, bounds if cap is None else np.minimum(bounds, cap), progress)
    if cut.any():
        graph = csr_array(graph.maximum(graph.T.tocsr()))
    return ItemGraph(graph, cap, int(cut.sum()), int((train.counts > config.most_history).sum()))


def _strongest_edges(
    train: Interactions, by_item: csr_array, limits: Indices, progress: Progress | None
) -> tuple[csr_array, Flags]:
    """Return the graph with at most limits[i] neighbours in row i, and a flag for each item that had more."""
    n_items = train.n_items
    starts = np.concatenate([[0], np.cumsum(limits)])
    neighbours, weights = np.zeros(starts[-1], np.int32), np.zeros(starts[-1], np.float32)
    counts, cut = np.zeros(n_items, np.int64), np.zeros(n_items, np.bool_)
    items_of_users = train.starts, train.items
    users_of_items = by_item.indptr.astype(np.int64), by_item.indices
    output = starts, neighbours, weights, counts, cut
    for block in block_slices(n_items, BLOCK):
        in_chunks(_fill_rows, block.stop - block.start, block.start, items_of_users, users_of_items, output)
        if progress:
            progress("item graph", block.stop, n_items)
    graph = csr_array((weights, neighbours, starts.astype(np.int32)), shape=(n_items, n_items))
    graph.eliminate_zeros()  # closes the gaps after each row, in place
    graph.sort_indices()
    return graph, cut


def _sample_histories(train: Interactions, most: int, rng: Generator) -> Interactions:
    """Return at most `most` pairs per user, drawn uniformly."""
    if train.counts.max(initial=0) <= most:
        return train
    order = np.lexsort((rng.random(len(train)), train.users))
    pairs = np.sort(order[np.arange(len(train)) - train.starts[train.users] < most])
    return Interactions(train.users[pairs], train.items[pairs], train.n_users, train.n_items)


def _neighbour_cap(bounds: Indices, most_edges: int) -> int | None:
    """Return the largest number of neighbours per item for which all fit; None without a limit.

    bounds: (n_items,) upper bound on the number of neighbours.
    """
    if bounds.sum() <= most_edges:
        return None
    n_with_at_least = np.cumsum(np.bincount(bounds)[::-1])[::-1][1:]  # items with at least 1, 2, ... neighbours
    return max(1, int(np.searchsorted(np.cumsum(n_with_at_least), most_edges, side="right")))


@compiled
def _fill_rows(
    begin: int,
    end: int,
    first: int,
    items_of_users: tuple[Indices, Indices],
    users_of_items: tuple[Indices, NDArray[np.int32]],
    output: tuple[Indices, NDArray[np.int32], Floats, Indices, Flags],
) -> None:
    """Fill rows first + begin .. first + end of the graph: neighbours, Jaccard weights, counts, and whether cut."""
    item_starts = users_of_items[0]
    starts, neighbours, weights, counts, cut = output
    n_items = len(item_starts) - 1
    shared, others = np.zeros(n_items, np.int32), np.empty(n_items, np.int32)
    values = np.empty(n_items, np.float32)
    for item in range(first + begin, first + end):
        n = _count_shared(item, items_of_users, users_of_items, shared, others)
        size = item_starts[item + 1] - item_starts[item]
        for k in range(n):
            other = others[k]
            both = shared[other]
            values[k] = both / (size + item_starts[other + 1] - item_starts[other] - both)
            shared[other] = 0
        start, limit = starts[item], starts[item + 1] - starts[item]
        counts[item] = _keep_largest(n, limit, others, values, neighbours[start:], weights[start:])
        cut[item] = n > limit


@compiled
def _count_shared(
    item: int,
    items_of_users: tuple[Indices, Indices],
    users_of_items: tuple[Indices, NDArray[np.int32]],
    shared: NDArray[np.int32],
    others: NDArray[np.int32],
) -> int:
    """Fill others[:n] with the items that share a user with `item`, shared[j] with their common users; return n."""
    (user_starts, items), (item_starts, users) = items_of_users, users_of_items
    n = 0
    for k in range(item_starts[item], item_starts[item + 1]):
        for m in range(user_starts[users[k]], user_starts[users[k] + 1]):
            other = items[m]
            if other != item:
                if shared[other] == 0:
                    others[n] = other
                    n += 1
                shared[other] += 1
    return n


@compiled
def _keep_largest(
    n: int, most: int, items: NDArray[np.int32], values: Floats, out_items: NDArray[np.int32], out_values: Floats
) -> int:
    """Copy the `most` largest of n values with their items and return their number; ties at the limit in order."""
    limit, n_ties = np.float32(0.0), 0
    if n > most:
        limit = np.partition(values[:n], n - most)[n - most]
        n_ties = most
        for k in range(n):
            n_ties -= values[k] > limit
    count = 0
    for k in range(n):
        if values[k] > limit or (values[k] == limit and n_ties > 0):
            n_ties -= values[k] == limit
            out_items[count], out_values[count] = items[k], values[k]
            count += 1
    return count


@dataclass(frozen=True)
class Spectrum:
    """Items as points.

    points: (n_items, size), NaN in rows of items without an edge. values: (size,) eigenvalues of the normalised
    adjacency, largest first. components: number of connected components of two items or more.
    """

    points: Floats
    values: Floats
    components: int


def spectral_embedding(weights: csr_array, size: int, *, seed: int) -> Spectrum:
    """Embed the items of a symmetric graph; fewer columns than `size` where it has fewer eigenvectors.

    The entry of largest magnitude of each eigenvector is positive; entries of components outside it are exactly 0.
    seed: of the start vector. Raises DataError where the iteration does not converge.
    """
    connected = np.flatnonzero(np.diff(weights.indptr) > 0)
    if not len(connected):
        return Spectrum(np.full((weights.shape[0], 1), np.nan), np.empty(0), 0)
    inner = weights if len(connected) == weights.shape[0] else csr_array(weights[connected][:, connected])
    part = _NormalisedGraph.of(inner)
    size = min(size, len(connected) - part.n_components)
    values, vectors = _dense(part, size) if len(connected) <= DENSE else _iterative(part, size, seed)
    # An eigenvector is 0 on components that hold less of its length than the accuracy.
    shares = np.stack([np.bincount(part.labels, v**2, minlength=part.n_components) for v in vectors.T], axis=1)
    vectors = np.where(shares[part.labels] < TOLERANCE**2, 0.0, vectors)
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(size)] < 0, -1.0, 1.0)
    points = np.full((weights.shape[0], size), np.nan)
    points[connected] = vectors
    return Spectrum(points, values, part.n_components)


@dataclass(frozen=True)
class _NormalisedGraph:
    """D^-1/2 W D^-1/2 of a graph where every item has an edge; its null vectors are D^1/2 on each component."""

    matrix: csr_array
    null: Floats
    """(items,) null vectors of all components, each of unit length, in one array because their supports are disjoint."""
    labels: Indices
    n_components: int

    @classmethod
    def of(cls, weights: csr_array) -> _NormalisedGraph:
        n_components, labels = connected_components(weights, directed=False)
        degrees = weights.sum(axis=1, dtype=np.float64)
        scale = (1 / np.sqrt(degrees)).astype(np.float32)
        data = weights.data * np.repeat(scale, np.diff(weights.indptr))
        data *= scale[weights.indices]
        null = np.sqrt(degrees / np.bincount(labels, degrees)[labels])
        matrix = csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
        return cls(matrix, null, labels.astype(np.int64), n_components)

    def without_null(self, vector: Floats) -> Floats:
        """Return a vector without its part in the span of the null vectors."""
        shares = np.bincount(self.labels, self.null * vector, minlength=self.n_components)
        return np.asarray(vector - self.null * shares[self.labels])

    def product(self, vector: Floats) -> Floats:
        """Return matrix times vector, with the null vectors' eigenvalues shifted."""
        vector = vector.ravel()
        product = (self.matrix @ vector.astype(np.float32)).astype(np.float64)
        return np.asarray(product - SHIFT * (vector - self.without_null(vector)))


def _dense(part: _NormalisedGraph, size: int) -> tuple[Floats, Floats]:
    whole = part.matrix.toarray().astype(np.float64)
    same = part.labels[:, None] == part.labels
    values, vectors = np.linalg.eigh(whole - SHIFT * same * np.outer(part.null, part.null))
    return values[::-1][:size], vectors[:, ::-1][:, :size]


def _iterative(part: _NormalisedGraph, size: int, seed: int) -> tuple[Floats, Floats]:
    n = len(part.null)
    start = part.without_null(generator(seed, "start of the eigenvectors").standard_normal(n))
    operator = LinearOperator((n, n), matvec=part.product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=size, which="LA", v0=start, tol=TOLERANCE)
    except ArpackNoConvergence as error:
        raise DataError(
            f"found {len(error.eigenvalues)} of {size} eigenvectors of the item graph; lower embedding_size"
        ) from None
    return values[::-1], vectors[:, ::-1]
