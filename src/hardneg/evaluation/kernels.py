"""Compiled kernels of ranking: mask seen items and keep the k best in one pass over a row of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, reordering
from hardneg.types import Floats, Indices

Numbers = NDArray[Any]
"""Scores, or integer keys with the same order."""
LOWEST = -(2**15)
"""Key of seen items, below the key of every number."""

CHUNK = 64
"""Scores compared with the k-th best at once; most chunks contain none that is better."""


@compiled
def top_k(begin: int, end: int, scores: Floats, users: Indices, starts: Indices, seen: Indices, best: Indices) -> None:
    """Write the items of the highest scores[b] to best[b], best first, ties by lower item, -1 past the last.

    scores: (block, n_items) float32, overwritten with -inf for items that users[b] has seen. starts, seen: offsets and
    items of every user. Items with score -inf or NaN are never ranked. best: (block, k).
    """
    best_scores = np.empty(best.shape[1], np.float32)
    for b in range(begin, end):
        best[b, :] = -1
        _select_unseen(scores[b], seen[starts[users[b]] : starts[users[b] + 1]], -np.inf, best_scores, best[b])


@compiled
def _select_unseen(row: Numbers, seen: Indices, lowest: Any, best_scores: Numbers, items: Indices) -> None:
    """Set the seen items of a row to `lowest`, then find its best scores above `lowest` and their items."""
    for item in seen:
        row[item] = lowest
    best_scores[:] = lowest
    for first in range(0, len(row), CHUNK):
        stop = min(first + CHUNK, len(row))
        if _any_above(row, first, stop, best_scores[-1]):
            for item in range(first, stop):
                if row[item] > best_scores[-1]:
                    _insert(best_scores, items, row[item], item)


@compiled
def _any_above(row: Numbers, first: int, stop: int, bound: Any) -> bool:
    # Counting instead of stopping at the first has no branch, so the comparisons are vectorised.
    above = 0
    for place in range(first, stop):
        above += row[place] > bound
    return above > 0


@compiled
def _insert(best_scores: Numbers, items: Indices, score: Any, item: int) -> None:
    """Insert a score that exceeds the last of the descending `best_scores`, behind its equals."""
    place = len(best_scores) - 1
    while place > 0 and best_scores[place - 1] < score:
        best_scores[place], items[place] = best_scores[place - 1], items[place - 1]
        place -= 1
    best_scores[place], items[place] = score, item


@compiled
def order_keys(bits: Numbers) -> None:
    """Convert bfloat16 bits as int16, in place, to integers with the order of the floats."""
    flat = bits.reshape(-1)
    for i in range(len(flat)):
        flat[i] ^= (flat[i] >> 15) & 0x7FFF


@compiled
def kth_best(
    begin: int, end: int, keys: Numbers, users: Indices, starts: Indices, seen: Indices, k: int, last: Numbers
) -> None:
    """Write the k-th highest of keys[b] (block, n_items) int16 to last[b]; seen items of users[b] are set to LOWEST."""
    best_scores, items = np.empty(k, np.int16), np.empty(k, np.int64)
    for b in range(begin, end):
        _select_unseen(keys[b], seen[starts[users[b]] : starts[users[b] + 1]], LOWEST, best_scores, items)
        last[b] = best_scores[-1]


@reordering
def rescore(
    begin: int, end: int, keys: Numbers, bounds: Numbers, queries: Floats, table: Floats, best: Indices
) -> None:
    """Write to best[b] the items with the highest float32 inner products among those with keys[b] >= bounds[b].

    queries: (block, size). table: (n_items, size). best: (block, k), -1 past the last.
    """
    best_scores = np.empty(best.shape[1], np.float32)
    for b in range(begin, end):
        row = keys[b]
        best_scores[:] = -np.inf
        best[b, :] = -1
        for first in range(0, len(row), CHUNK):
            stop = min(first + CHUNK, len(row))
            if _any_above(row, first, stop, bounds[b] - 1):
                for item in range(first, stop):
                    if row[item] >= bounds[b] and row[item] > LOWEST:
                        total = np.float32(0.0)
                        for d in range(queries.shape[1]):
                            total += queries[b, d] * table[item, d]
                        if total > best_scores[-1]:
                            _insert(best_scores, best[b], total, item)
