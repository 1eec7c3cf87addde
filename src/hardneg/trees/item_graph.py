"""Item graph of the structural tree (DTL-NS): w_ij = |Ui & Uj| / |Ui | Uj|, with Ui the train users of item i.

A graph larger than `most_edges` keeps only the strongest edges of every item.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import PositiveInt
from scipy.sparse import csr_array

from hardneg.compiled import compiled, in_chunks
from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.types import Flags, Floats, Indices, Progress, block_slices

BLOCK = 1 << 14
"""Items per progress report."""


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
    neighbours, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    counts, cut = np.zeros(n_items, np.int64), np.zeros(n_items, np.bool_)
    items_of_users = train.starts, train.items
    users_of_items = by_item.indptr.astype(np.int64), by_item.indices
    output = starts, neighbours, weights, counts, cut
    for block in block_slices(n_items, BLOCK):
        in_chunks(_fill_rows, block.stop - block.start, block.start, items_of_users, users_of_items, output)
        if progress:
            progress("item graph", block.stop, n_items)
    return _compact(starts, counts, neighbours, weights), cut


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


def _compact(starts: Indices, counts: Indices, neighbours: NDArray[np.int32], weights: Floats) -> csr_array:
    """Close the gaps after each row, in place."""
    ends = np.concatenate([[0], np.cumsum(counts)])
    _close_gaps(starts, ends, neighbours, weights)
    total, n = int(ends[-1]), len(counts)
    graph = csr_array((weights[:total].copy(), neighbours[:total].copy(), ends.astype(np.int32)), shape=(n, n))
    graph.sort_indices()
    return graph


@compiled
def _close_gaps(starts: Indices, ends: Indices, neighbours: NDArray[np.int32], weights: Floats) -> None:
    for row in range(len(ends) - 1):
        for k in range(ends[row + 1] - ends[row]):
            neighbours[ends[row] + k] = neighbours[starts[row] + k]
            weights[ends[row] + k] = weights[starts[row] + k]


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
