"""Compiled kernels of ranking: mask seen items and keep the k best scores of a row.

Scores are compared as integers in the order of the floats. A best item is one integer, its key: score x 2^32 +
(2^31 - 1 - item), so that of equal scores the lower item has the higher key, and k best keys need no second array.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, reordering
from hardneg.types import Floats, Indices

Numbers = NDArray[Any]
"""Scores as integers with the order of the floats: int32 of float32, int16 of bfloat16."""
LOWEST = -(2**15)
"""Score of seen items among int16, below that of every number."""
LOWEST_32 = -(2**31)
"""Score of seen items, NaN and -inf among int32."""
NO_KEY = -(2**63)
"""Key where there is no item."""
LAST_ITEM = 2**31 - 1
_INFINITY, _WITHOUT_SIGN = 0x7F800000, 0x7FFFFFFF


def items_of(keys: Indices) -> Indices:
    """Return the items of keys, -1 for none."""
    return np.where(keys == NO_KEY, -1, LAST_ITEM - (keys & 0xFFFFFFFF))


@compiled
def top_k(
    begin: int, end: int, bits: Numbers, offset: int, users: Indices, starts: Indices, seen: Indices, keys: Indices
) -> None:
    """Take the scores of items offset, offset + 1, ... into the best keys so far.

    bits: (block, some items), float32 scores seen as int32, overwritten. starts, seen: offsets and ascending items of
    every user; seen items are not ranked, nor are scores of -inf or NaN. keys: (block, k) in descending order.
    """
    columns, bounds = np.empty(_n_columns(bits.shape[1], keys.shape[1]), bits.dtype), np.empty_like(keys[0])
    for b in range(begin, end):
        _order_floats(bits[b])
        _mask(bits[b], offset, seen[starts[users[b]] : starts[users[b] + 1]], LOWEST_32)
        _keep_best(bits[b], offset, LOWEST_32, columns, bounds, keys[b])


@compiled
def _order_floats(bits: Numbers) -> None:
    """Convert float32 bits as int32, in place, to integers with the order of the floats; -0.0 equals 0.0."""
    # Constants of 64 bits would halve the vectors.
    infinity, without_sign, lowest = np.int32(_INFINITY), np.int32(_WITHOUT_SIGN), np.int32(LOWEST_32)
    for i in range(len(bits)):
        ordered = np.int32(bits[i] ^ ((bits[i] >> np.int32(31)) & without_sign))
        if ordered == np.int32(-1):
            ordered = np.int32(0)
        if ordered > infinity or ordered < -infinity:
            ordered = lowest
        bits[i] = ordered


@compiled
def order_keys(bits: Numbers) -> None:
    """Convert bfloat16 bits as int16, in place, to integers with the order of the floats."""
    flat = bits.reshape(-1)
    for i in range(len(flat)):
        flat[i] ^= (flat[i] >> 15) & 0x7FFF


@compiled
def _mask(row: Numbers, offset: int, seen: Indices, lowest: int) -> None:
    """Set the scores of seen items to `lowest`; row: scores of items from `offset` on."""
    for place in range(np.searchsorted(seen, offset), len(seen)):
        if seen[place] >= offset + len(row):
            break
        row[seen[place] - offset] = lowest


@compiled
def _n_columns(n_items: int, k: int) -> int:
    """Return the number of columns for which comparing columns and comparing scores of k columns cost the same."""
    return min(n_items, max(16, int(math.sqrt(n_items * k)) // 16 * 16))


@compiled
def _column_maxima(row: Numbers, columns: Numbers) -> None:
    """Set columns[c] to the highest of row[c], row[c + n], row[c + 2 n], ... for n columns, in vectors."""
    n = len(columns)
    columns[:] = row[:n]
    for first in range(n, len(row), n):
        part = row[first : first + n]
        for c in range(len(part)):
            if part[c] > columns[c]:  # noqa: PLR1730 - max() of numba has 64 bits
                columns[c] = part[c]


@compiled
def _keep_best(row: Numbers, offset: int, lowest: int, columns: Numbers, bounds: Indices, keys: Indices) -> None:
    """Take scores above `lowest` into the k best keys so far. columns, bounds: space for work, (columns,), (k,).

    The k best of the scores so far and of the maxima of columns are scores of k items. So no item below the last of
    them is needed, and few columns have a maximum that reaches it.
    """
    _column_maxima(row, columns)
    bounds[:] = keys
    bound = max(lowest + 1, bounds[-1] >> 32)
    for c in range(len(columns)):
        if columns[c] > bound:
            _insert(bounds, np.int64(columns[c]) << 32)
            bound = max(lowest + 1, bounds[-1] >> 32)
    for c in range(len(columns)):
        if columns[c] >= bound:
            for place in range(c, len(row), len(columns)):
                if row[place] >= bound:
                    _insert(keys, (np.int64(row[place]) << 32) + LAST_ITEM - offset - place)


@compiled
def _insert(keys: Indices, key: Any) -> None:
    """Insert a key that exceeds the last of descending keys, which is lost; others change nothing."""
    if key <= keys[-1]:
        return
    for place in range(len(keys)):
        higher = max(keys[place], key)
        key = min(keys[place], key)
        keys[place] = higher


@compiled
def kth_best(
    begin: int, end: int, rows: Numbers, users: Indices, starts: Indices, seen: Indices, k: int, last: Numbers
) -> None:
    """Write the k-th highest of rows[b] (block, n_items) int16 to last[b]; seen items of users[b] are set to LOWEST."""
    columns, bounds, keys = (
        np.empty(_n_columns(rows.shape[1], k), np.int16),
        np.empty(k, np.int64),
        np.empty(k, np.int64),
    )
    for b in range(begin, end):
        _mask(rows[b], 0, seen[starts[users[b]] : starts[users[b] + 1]], LOWEST)
        keys[:] = NO_KEY
        _keep_best(rows[b], 0, LOWEST, columns, bounds, keys)
        last[b] = max(keys[-1] >> 32, LOWEST)


@reordering
def rescore(
    begin: int, end: int, rows: Numbers, bounds: Numbers, queries: Floats, table: Floats, keys: Indices
) -> None:
    """Take the items with rows[b] >= bounds[b] into the best keys by their float32 inner products.

    queries: (block, size). table: (n_items, size). keys: (block, k).
    """
    columns = np.empty(_n_columns(rows.shape[1], keys.shape[1]), np.int16)
    score = np.empty(1, np.float32)
    for b in range(begin, end):
        row, bound = rows[b], max(bounds[b], LOWEST + 1)
        _column_maxima(row, columns)
        for c in range(len(columns)):
            if columns[c] >= bound:
                for item in range(c, len(row), len(columns)):
                    if row[item] >= bound:
                        total = np.float32(0.0)
                        for d in range(queries.shape[1]):
                            total += queries[b, d] * table[item, d]
                        score[0] = total
                        bits = score.view(np.int32)
                        _order_floats(bits)
                        if bits[0] > LOWEST_32:
                            _insert(keys[b], (np.int64(bits[0]) << 32) + LAST_ITEM - item)
