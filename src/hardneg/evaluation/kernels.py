"""Compiled code of ranking: mask what was seen and keep the k best, in one pass over a row of scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, reordering
from hardneg.types import Floats, Indices

Numbers = NDArray[Any]
"""Scores, or keys that order as they do."""
LOWEST = -(2**15)
"""Below the key of every number: of what was seen."""

CHUNK = 64
"""Scores that are compared with the k-th best at once; most chunks hold none that is better."""


@compiled
def top_k(begin: int, end: int, scores: Floats, users: Indices, starts: Indices, seen: Indices, best: Indices) -> None:
    """best[b]: the items of the highest scores[b], best first, of equals the lower item first; -1 where none is left.

    scores (block, n_items) float32 is overwritten with -inf where users[b] has seen the item; starts, seen: every
    user's items. An item whose score is -inf or no number is never ranked. best: (block, k).
    """
    k = best.shape[1]
    kept = np.empty(k, np.float32)
    for b in range(begin, end):
        for place in range(starts[users[b]], starts[users[b] + 1]):
            scores[b, seen[place]] = -np.inf
        row = scores[b]
        kept[:] = -np.inf
        best[b, :] = -1
        for first in range(0, len(row), CHUNK):
            stop = min(first + CHUNK, len(row))
            if _any_above(row, first, stop, kept[k - 1]):
                for item in range(first, stop):
                    if row[item] > kept[k - 1]:
                        _insert(kept, best[b], row[item], item)


@compiled
def _any_above(row: Numbers, first: int, stop: int, bound: Any) -> bool:
    """Counted, not searched: without a branch the comparisons run in lanes."""
    above = 0
    for place in range(first, stop):
        above += row[place] > bound
    return above > 0


@compiled
def _insert(kept: Numbers, items: Indices, score: Any, item: int) -> None:
    """Put a score that beats the last of the descending kept in its place, behind its equals."""
    place = len(kept) - 1
    while place > 0 and kept[place - 1] < score:
        kept[place], items[place] = kept[place - 1], items[place - 1]
        place -= 1
    kept[place], items[place] = score, item


@compiled
def order_keys(bits: Numbers) -> None:
    """Bits of bfloat16 as int16, in place: numbers that order as the floats do (negative floats order backwards)."""
    flat = bits.reshape(-1)
    for i in range(len(flat)):
        flat[i] ^= (flat[i] >> 15) & 0x7FFF


@compiled
def last_kept(
    begin: int, end: int, keys: Numbers, users: Indices, starts: Indices, seen: Indices, k: int, last: Numbers
) -> None:
    """last[b]: the k-th highest of keys[b] (block, n_items) int16, what users[b] has seen apart (it becomes LOWEST)."""
    kept, items = np.empty(k, np.int16), np.empty(k, np.int64)
    for b in range(begin, end):
        for place in range(starts[users[b]], starts[users[b] + 1]):
            keys[b, seen[place]] = LOWEST
        row = keys[b]
        kept[:] = LOWEST
        for first in range(0, len(row), CHUNK):
            stop = min(first + CHUNK, len(row))
            if _any_above(row, first, stop, kept[k - 1]):
                for item in range(first, stop):
                    if row[item] > kept[k - 1]:
                        _insert(kept, items, row[item], item)
        last[b] = kept[k - 1]


@reordering
def rescore(
    begin: int, end: int, keys: Numbers, floors: Numbers, queries: Floats, table: Floats, best: Indices
) -> None:
    """best[b]: the items with the highest inner products in 32 bits among those with keys[b] >= floors[b]; -1 where none
    is left. queries (block, size), table (n_items, size)."""
    kept = np.empty(best.shape[1], np.float32)
    for b in range(begin, end):
        row = keys[b]
        kept[:] = -np.inf
        best[b, :] = -1
        for first in range(0, len(row), CHUNK):
            stop = min(first + CHUNK, len(row))
            if _any_above(row, first, stop, floors[b] - 1):
                for item in range(first, stop):
                    if row[item] >= floors[b] and row[item] > LOWEST:
                        total = np.float32(0.0)
                        for d in range(queries.shape[1]):
                            total += queries[b, d] * table[item, d]
                        if total > kept[-1]:
                            _insert(kept, best[b], total, item)
