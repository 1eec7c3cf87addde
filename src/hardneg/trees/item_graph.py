"""The item graph of the structural tree: w_ij = |Ui and Uj| / |Ui or Uj|, Ui the users of item i in train (DTL-NS).

All of it while it fits into `most_edges`; of a larger one the strongest edges of every item.
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

AT_A_TIME = 1 << 14
"""Items between two words of progress."""


class GraphConfig(Config):
    """What bounds time and memory; neither limit is met by catalogues of some ten thousand items."""

    most_edges: PositiveInt = 32_000_000
    """Room for so many (item, neighbour) entries, 8 bytes each. Where all might not fit, every item keeps its
    strongest ones, equally many but for items that have fewer. An edge stays if one of its ends keeps it, so that the
    graph may come to twice as many entries."""
    most_history: PositiveInt = 2_000
    """Of a user with more train items, so many are drawn: work grows with the square of a history."""


@dataclass(frozen=True)
class ItemGraph:
    """weights: (n_items, n_items), symmetric, float32 in (0, 1], nothing on the diagonal. cap: neighbours an item keeps,
    None where all were kept. cut_items: items that had more. cut_users: users whose history was sampled."""

    weights: csr_array
    cap: int | None
    cut_items: int
    cut_users: int

    def notes(self) -> dict[str, Any]:
        """What a manifest should say of it."""
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
    """Build the graph of all items that share a user. rng: draws from histories above `most_history` alone."""
    counted = _sampled(train, config.most_history, rng)
    by_item = csr_array(counted.matrix().T.tocsr())
    bounds = np.minimum(by_item @ (counted.counts - 1), train.n_items - 1).astype(np.int64)
    cap = _cap(bounds, config.most_edges)
    graph, cut = _strongest(counted, by_item, bounds if cap is None else np.minimum(bounds, cap), progress)
    if cut.any():
        graph = csr_array(graph.maximum(graph.T.tocsr()))
    return ItemGraph(graph, cap, int(cut.sum()), int((train.counts > config.most_history).sum()))


def _strongest(
    train: Interactions, by_item: csr_array, room: Indices, progress: Progress | None
) -> tuple[csr_array, Flags]:
    """The graph with at most room[i] neighbours in the row of item i, and which items had more."""
    n_items = train.n_items
    starts = np.concatenate([[0], np.cumsum(room)])
    neighbours, weights = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.float32)
    kept, cut = np.zeros(n_items, np.int64), np.zeros(n_items, np.bool_)
    by_user, users = (train.starts, train.items), (by_item.indptr.astype(np.int64), by_item.indices)
    for block in block_slices(n_items, AT_A_TIME):
        size, out = block.stop - block.start, (starts, neighbours, weights, kept, cut)
        in_chunks(_neighbours_of_block, size, block.start, *by_user, *users, *out)
        if progress:
            progress("item graph", block.stop, n_items)
    return _compact(starts, kept, neighbours, weights), cut


def _sampled(train: Interactions, most: int, rng: Generator) -> Interactions:
    """At most so many pairs a user, drawn evenly."""
    if train.counts.max(initial=0) <= most:
        return train
    order = np.lexsort((rng.random(len(train)), train.users))
    kept = np.sort(order[np.arange(len(train)) - train.starts[train.users] < most])
    return Interactions(train.users[kept], train.items[kept], train.n_users, train.n_items)


def _cap(bounds: Indices, most_edges: int) -> int | None:
    """The largest number of neighbours an item for which all fit; None where nothing need be left out.

    bounds: (n_items,) how many neighbours an item may have.
    """
    if bounds.sum() <= most_edges:
        return None
    low, high = 1, int(bounds.max())
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if np.minimum(bounds, middle).sum() <= most_edges else (low, middle - 1)
    return low


def _compact(starts: Indices, kept: Indices, neighbours: NDArray[np.int32], weights: Floats) -> csr_array:
    """Close the gaps behind each row, in place."""
    ends = np.concatenate([[0], np.cumsum(kept)])
    _close_gaps(starts, ends, neighbours, weights)
    total, n = int(ends[-1]), len(kept)
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
def _neighbours_of_block(
    begin: int,
    end: int,
    first: int,
    user_starts: Indices,
    items: Indices,
    item_starts: Indices,
    users: NDArray[np.int32],
    out_starts: Indices,
    out_items: NDArray[np.int32],
    out_weights: Floats,
    out_kept: Indices,
    out_cut: Flags,
) -> None:
    """Rows first + begin .. first + end of the graph: neighbours, their Jaccard indices, how many, and whether cut."""
    n_items = len(item_starts) - 1
    shared, met = np.zeros(n_items, np.int32), np.empty(n_items, np.int32)
    values = np.empty(n_items, np.float32)
    for item in range(first + begin, first + end):
        n = _count_shared(item, user_starts, items, item_starts, users, shared, met)
        size = item_starts[item + 1] - item_starts[item]
        for k in range(n):
            other = met[k]
            both = shared[other]
            values[k] = both / (size + item_starts[other + 1] - item_starts[other] - both)
            shared[other] = 0
        place, room = out_starts[item], out_starts[item + 1] - out_starts[item]
        out_kept[item] = _keep_largest(n, room, met, values, out_items[place:], out_weights[place:])
        out_cut[item] = n > room


@compiled
def _count_shared(
    item: int,
    user_starts: Indices,
    items: Indices,
    item_starts: Indices,
    users: NDArray[np.int32],
    shared: NDArray[np.int32],
    met: NDArray[np.int32],
) -> int:
    """shared[j]: users that items j and `item` have both, for the other items j = met[:n]; returns n."""
    n = 0
    for k in range(item_starts[item], item_starts[item + 1]):
        for m in range(user_starts[users[k]], user_starts[users[k] + 1]):
            other = items[m]
            if other != item:
                if shared[other] == 0:
                    met[n] = other
                    n += 1
                shared[other] += 1
    return n


@compiled
def _keep_largest(
    n: int, room: int, met: NDArray[np.int32], values: Floats, out_items: NDArray[np.int32], out_weights: Floats
) -> int:
    """Copy the `room` largest of n values with their items; of equal ones at the limit those that were met first."""
    limit, spare = np.float32(0.0), 0
    if n > room:
        limit = np.partition(values[:n], n - room)[n - room]
        spare = room
        for k in range(n):
            spare -= values[k] > limit
    kept = 0
    for k in range(n):
        if values[k] > limit or (values[k] == limit and spare > 0):
            spare -= values[k] == limit
            out_items[kept], out_weights[kept] = met[k], values[k]
            kept += 1
    return kept
