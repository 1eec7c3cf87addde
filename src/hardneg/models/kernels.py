"""Compiled code of propagation: products of the graph with tables, row copies and additions, noise, BPR."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, prefetch, reordering
from hardneg.models.intrinsics import LANES, add_16, as_float, half_bits, store_half, sum_16, sum_64
from hardneg.philox import philox
from hardneg.types import Floats, Indices

TableArray = NDArray[Any]
"""(rows, size) float32, or the bits of float16 as uint16; C-contiguous."""
SparseRows = tuple[Indices, TableArray, Floats]
"""A sparse matrix in compressed rows: starts (rows + 1,), neighbours int32 with AHEAD entries of padding, weights float32."""
PoolArrays = tuple[Floats, float, TableArray]
"""Pooled rows (n, size), the weight of a hop in them, and the position of every row in them, -1 for none."""
PREFETCH_ROWS = 8
"""Rows between the current one and the one that is prefetched."""
LARGEST = 14
"""Tables are scaled so that their largest number is below 2^14; float16 ends at 65,504."""


@compiled
def products(  # noqa: C901 - a function call per row would cost as much as the row
    begin: int,
    end: int,
    rows: Indices,
    matrix: SparseRows,
    table: TableArray,
    scale: float,
    out: Floats,
    halves: TableArray,
    half_scale: float,
    pool: PoolArrays,
) -> None:
    """Set out[r] = scale x sum of the weighted table rows of r's neighbours, for every r of rows[begin:end].

    table: (columns, size). out: (rows, size) float32; other rows are unchanged, and an empty `out` discards results.
    If halves has 16 bits, also set halves[r] = half_scale x out[r] in float16. If r has a pooled row, also add
    weight x out[r] to it.
    """
    starts, near, weights = matrix
    pooled, share, positions = pool
    size, factor = table.shape[1], np.float32(scale)
    half_factor, part = np.float32(half_scale), np.float32(share)
    work = out if len(out) else np.empty((1, size), np.float32)
    flat_work, flat_halves, flat_pooled = work.reshape(-1), halves.reshape(-1), pooled.reshape(-1)
    arrays = flat_work, table.reshape(-1), near, weights, flat_halves
    for number in range(begin, end):
        row = rows[number]
        at = row if len(out) else 0
        first, stop, c = starts[row], starts[row + 1], 0
        to, half_to = at * size, row * size
        while c + 64 <= size:
            sum_64(arrays, to + c, half_to + c, c, size, first, stop, factor, half_factor)
            c += 64
        while c + LANES <= size:
            sum_16(arrays, to + c, half_to + c, c, size, first, stop, factor, half_factor)
            c += LANES
        for rest in range(c, size):
            total = np.float32(0.0)
            for k in range(first, stop):
                total += weights[k] * as_float(table[near[k], rest])
            work[at, rest] = factor * total
            store_half(flat_halves, half_to + rest, factor * total * half_factor)
        position = positions[row] if len(pooled) else -1
        if position >= 0:
            pooled_to, c = np.int64(position) * size, 0
            while c + LANES <= size:
                add_16(flat_pooled, pooled_to + c, flat_work, to + c, part)
                c += LANES
            for rest in range(c, size):
                pooled[position, rest] += part * work[at, rest]


@compiled
def _largest_bits(numbers: NDArray[np.uint32]) -> int:
    """Return the bits of the largest magnitude; without the sign, floats are ordered as their bits."""
    largest = np.uint32(0)
    for i in range(len(numbers)):
        largest = max(largest, numbers[i] & np.uint32(0x7FFFFFFF))
    return int(largest)


@compiled
def _store_halves(numbers: Floats, scale: float, out: TableArray) -> None:
    factor = np.float32(scale)
    for i in range(len(numbers)):
        out[i] = half_bits(numbers[i] * factor)


def to_half(table: Floats) -> tuple[TableArray, float]:
    """Return the bits of table x scale as float16, and the scale, a power of two. table: (rows, size) float32.

    The largest number is scaled into [2^13, 2^14), so that small gradients keep 11 bits.
    """
    bits = int(_largest_bits(table.reshape(-1).view(np.uint32)))
    exponent = (bits >> 23) - 126 if bits else 0
    finite = bits < 0x7F800000
    scale = 2.0 ** max(min(LARGEST - exponent, 126), -126) if finite else float("nan")  # NaN, not zeros
    out = np.empty(table.shape, np.uint16)
    _store_halves(table.reshape(-1), scale, out.reshape(-1))
    return out, scale


@compiled
def prefetch_row(flat: TableArray, start: int, size: int) -> None:
    """Load the cache lines of flat[start : start + size] without waiting."""
    for line in range(start, start + size, LANES):
        prefetch(flat, line)


@compiled
def add_rows(into: Floats, index: Indices, rows: Floats, weight: float) -> None:
    """Do into[index[m]] += weight x rows[m] in the order of m; index may repeat. into (n, size), rows (m, size)."""
    factor, size, flat = np.float32(weight), into.shape[1], into.reshape(-1)
    for m in range(len(index)):
        prefetch_row(flat, index[min(m + PREFETCH_ROWS, len(index) - 1)] * size, size)
        target = index[m]
        for d in range(size):
            into[target, d] += factor * rows[m, d]


@compiled
def take_rows(table: Floats, index: Indices, weight: float, out: Floats) -> None:
    """Set out[i] = weight x table[index[i]]."""
    factor, size, flat = np.float32(weight), table.shape[1], table.reshape(-1)
    for i in range(len(index)):
        prefetch_row(flat, index[min(i + PREFETCH_ROWS, len(index) - 1)] * size, size)
        row = index[i]
        for d in range(size):
            out[i, d] = factor * table[row, d]


@compiled
def put_rows(table: TableArray, index: Indices, rows: TableArray) -> None:
    """Set table[index[i]] = rows[i]."""
    for i in range(len(index)):
        row = index[i]
        for d in range(table.shape[1]):
            table[row, d] = rows[i, d]


@compiled
def fill_units(first: np.uint64, words: NDArray[np.uint64], out: Floats) -> None:
    """Fill a row with numbers of 16 bits in (0, 1) that depend on `first` alone (SplitMix64, Steele et al., 2014).

    words: (size / 4, rounded up), overwritten. Both loops run in vector registers, which four numbers a word at a time do not.
    """
    for w in range(len(words)):
        word = first + np.uint64(w + 1) * np.uint64(0x9E3779B97F4A7C15)
        word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        words[w] = word ^ (word >> np.uint64(31))
    parts = words.view(np.uint16)
    for d in range(len(out)):
        out[d] = (np.float32(np.int32(parts[d])) + np.float32(0.5)) * np.float32(2.0**-16)


@compiled
def words_for(size: int) -> NDArray[np.uint64]:
    """Return the space that `fill_units` needs for rows of this size."""
    return np.empty((size + 3) // 4, np.uint64)


@compiled
def draw_units(counter: tuple[np.uint64, int, int], row: int, words: NDArray[np.uint64], out: Floats) -> None:
    """Fill a row with numbers in (0, 1) that follow from its index and from counter: key, epoch and step."""
    key, epoch, step = counter
    fill_units(philox(key, np.uint64(row), np.uint64(epoch), np.uint64(step), np.uint64(0))[0], words, out)


@compiled
def draw_factors(
    begin: int, end: int, rows: Indices, counter: tuple[np.uint64, int, int], share: float, out: Floats
) -> None:
    """Set out[m] to factors of dropout, 0 for a share of the numbers and else 1 / (1 - share), for m in begin..end.

    Those of row rows[m] follow from it and from counter: key, epoch and step.
    """
    dropped, factor, words = np.float32(share), np.float32(1 / (1 - share)), words_for(out.shape[1])
    for m in range(begin, end):
        draw_units(counter, rows[m], words, out[m])
        for d in range(out.shape[1]):
            out[m, d] = np.float32(0.0) if out[m, d] < dropped else factor


@compiled
def add_noise(
    begin: int,
    end: int,
    rows: Indices,
    counter: tuple[np.uint64, int, int],
    length: float,
    signs: Floats,
    out: Floats,
    pool: PoolArrays,
) -> None:
    """Do out[r] += length x sign(signs[r]) x u / ||u|| for every r of rows[begin:end]; u is uniform in (0, 1) per number.

    counter: key, epoch and step, which with r determine u. If r has a pooled row, also add weight x the noise to it.
    """
    pooled, share, positions = pool
    unit, size, part = np.empty(out.shape[1], np.float32), out.shape[1], np.float32(share)
    words = words_for(size)
    for number in range(begin, end):
        row = rows[number]
        draw_units(counter, row, words, unit)
        squares = np.float32(0.0)
        for d in range(size):
            squares += unit[d] * unit[d]
        factor = np.float32(length) / np.sqrt(squares)
        position = positions[row] if len(pooled) else -1
        for d in range(size):
            noise = factor * unit[d] * np.sign(signs[row, d])
            out[row, d] += noise
            if position >= 0:
                pooled[position, d] += part * noise


@compiled
def edge_dots(
    begin: int, end: int, starts: Indices, near: TableArray, heads: Floats, tails: Floats, out: Floats
) -> None:
    """Set out[k] to the inner product of heads[r] and tails[near[k]] for the edges k of every row r in begin..end."""
    for row in range(begin, end):
        for k in range(starts[row], starts[row + 1]):
            total, other = np.float32(0.0), near[k]
            for d in range(heads.shape[1]):
                total += heads[row, d] * tails[other, d]
            out[k] = total


@compiled
def solve_rows(
    begin: int, end: int, starts: Indices, near: Indices, others: Floats, gram: Floats, alpha: float, out: Floats
) -> None:
    """Set out[r] = (gram + alpha sum_k y_k y_k')^-1 (1 + alpha) sum_k y_k over the neighbours k of r in begin..end.

    near[starts[r] : starts[r + 1]]: neighbours of r. others: (columns, size) float64, their rows y. gram: (size, size).
    """
    size = others.shape[1]
    for row in range(begin, end):
        left, right = gram.copy(), np.zeros(size)
        for k in range(starts[row], starts[row + 1]):
            y = others[near[k]]
            for d in range(size):
                right[d] += (1 + alpha) * y[d]
                for e in range(size):
                    left[d, e] += alpha * y[d] * y[e]
        out[row] = np.linalg.solve(left, right)


@reordering
def scores_to_gradients(scores: Floats) -> float:
    """Replace scores (1 + n,) by the gradients of log(1 + sum_k exp(s_k - s_0)) and return it; the positive is the first.

    The largest difference is subtracted before the exponential, which cannot overflow.
    """
    positive, largest = scores[0], np.float32(0.0)
    for k in range(1, len(scores)):
        largest = max(largest, scores[k] - positive)
    whole, rest = np.exp(-largest), 0.0
    for k in range(1, len(scores)):
        scores[k] = np.exp(scores[k] - positive - largest)
        whole += scores[k]
        rest += scores[k]
    scores[0] = np.float32(0.0)
    for k in range(1, len(scores)):
        scores[k] /= whole
        scores[0] -= scores[k]
    return float(largest + (np.log1p(rest) if largest == 0 else np.log(np.exp(-np.float64(largest)) + rest)))


@reordering
def bpr_rows(users: Floats, items: Floats, user_gradients: Floats, item_gradients: Floats) -> float:
    """Return the sum over rows of log(1 + sum_k exp(s_k - s_0)), s_k = users[b] . items[b, k]; set its gradients.

    users, user_gradients: (batch, size). items, item_gradients: (batch, 1 + n, size), the positive first.
    """
    batch, n_items, size = items.shape
    shares, total = np.empty(n_items, np.float32), 0.0
    for b in range(batch):
        for k in range(n_items):
            score = np.float32(0.0)
            for d in range(size):
                score += users[b, d] * items[b, k, d]
            shares[k] = score
        total += scores_to_gradients(shares)
        user_gradients[b] = 0.0
        for k in range(n_items):
            for d in range(size):
                user_gradients[b, d] += shares[k] * items[b, k, d]
                item_gradients[b, k, d] = shares[k] * users[b, d]
    return total
