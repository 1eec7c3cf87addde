"""Compiled code of propagation: products of the graph with a table stored in 32 or 16 bits, always summed in 32; rows
taken and added; BPR in one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, prefetch, reordering
from hardneg.models.intrinsics import LANES, add_16, as_number, keep_half, sum_16, sum_64, to_half_bits
from hardneg.types import Floats, Indices

TableArray = NDArray[Any]
"""(rows, size) float32, or the bits of float16 as uint16; C-contiguous."""
SOON = 8
"""Rows between the one at hand and the one that is fetched, where rows are taken one by one."""
LARGEST = 14
"""Tables are scaled so that their largest number is below 2^14; float16 ends at 65,504."""


@compiled
def products(  # noqa: C901 - a call a row would cost as much as the row
    begin: int,
    end: int,
    chosen: Indices,
    starts: Indices,
    near: TableArray,
    weights: Floats,
    table: TableArray,
    scale: float,
    out: Floats,
    halves: TableArray,
    half_scale: float,
    pooled: Floats,
    share: float,
    places: TableArray,
) -> None:
    """out[r] = scale x sum of the weighted table rows of r's neighbours, for every r of chosen[begin:end].

    starts (rows + 1,), near int32 (at least AHEAD more than are used) and weights float32: a sparse matrix in compressed
    rows. table: (columns, size). out: (rows, size) float32; rows that are not chosen are left alone, and an empty `out`
    keeps nothing. While a row is at hand, halves[r] = half_scale x out[r] in float16 where halves has 16 bits, and
    pooled[places[r]] += share x out[r] where places[r] >= 0, unless pooled is empty.
    """
    size, factor = table.shape[1], np.float32(scale)
    half_factor, part = np.float32(half_scale), np.float32(share)
    work = out if len(out) else np.empty((1, size), np.float32)
    flat, made, kept = table.reshape(-1), work.reshape(-1), halves.reshape(-1)
    flat_pooled = pooled.reshape(-1)
    for number in range(begin, end):
        row = chosen[number]
        at = row if len(out) else 0
        first, stop, c = starts[row], starts[row + 1], 0
        to, half_to = at * size, row * size
        while c + 64 <= size:
            sum_64(made, to + c, flat, size, c, near, weights, first, stop, factor, kept, half_to + c, half_factor)
            c += 64
        while c + LANES <= size:
            sum_16(made, to + c, flat, size, c, near, weights, first, stop, factor, kept, half_to + c, half_factor)
            c += LANES
        for rest in range(c, size):
            total = np.float32(0.0)
            for k in range(first, stop):
                total += weights[k] * as_number(table[near[k], rest])
            work[at, rest] = factor * total
            keep_half(kept, half_to + rest, factor * total * half_factor)
        short = places[row] if len(pooled) else -1
        if short >= 0:
            pooled_to, c = np.int64(short) * size, 0
            while c + LANES <= size:
                add_16(flat_pooled, pooled_to + c, made, to + c, part)
                c += LANES
            for rest in range(c, size):
                pooled[short, rest] += part * work[at, rest]


@compiled
def _largest_bits(numbers: NDArray[np.uint32]) -> int:
    """The bits of the largest magnitude: without the sign, floats order as their bits do."""
    largest = np.uint32(0)
    for i in range(len(numbers)):
        largest = max(largest, numbers[i] & np.uint32(0x7FFFFFFF))
    return int(largest)


@compiled
def _store_halves(numbers: Floats, scale: float, out: TableArray) -> None:
    factor = np.float32(scale)
    for i in range(len(numbers)):
        out[i] = to_half_bits(numbers[i] * factor)


def to_half(table: Floats) -> tuple[TableArray, float]:
    """(rows, size) float32 -> the bits of table x scale as float16, and the scale, a power of two.

    Scaled so that the largest number lies in [2^13, 2^14), gradients as small as they come keep their 11 bits.
    """
    bits = int(_largest_bits(table.reshape(-1).view(np.uint32)))
    exponent = (bits >> 23) - 126 if bits else 0
    finite = bits < 0x7F800000
    scale = 2.0 ** max(min(LARGEST - exponent, 126), -126) if finite else float("nan")  # then all is NaN, not zero
    out = np.empty(table.shape, np.uint16)
    _store_halves(table.reshape(-1), scale, out.reshape(-1))
    return out, scale


@compiled
def _fetch_row(flat: TableArray, start: int, size: int) -> None:
    for line in range(start, start + size, LANES):
        prefetch(flat, line)


@compiled
def add_rows(into: Floats, index: Indices, rows: Floats, weight: float) -> None:
    """into[index[m]] += weight x rows[m], in the order of m; index may repeat. into (n, size), rows (m, size)."""
    factor, size, flat = np.float32(weight), into.shape[1], into.reshape(-1)
    for m in range(len(index)):
        _fetch_row(flat, index[min(m + SOON, len(index) - 1)] * size, size)
        target = index[m]
        for d in range(size):
            into[target, d] += factor * rows[m, d]


@compiled
def take_rows(table: Floats, chosen: Indices, weight: float, out: Floats) -> None:
    """out[i] = weight x table[chosen[i]]."""
    factor, size, flat = np.float32(weight), table.shape[1], table.reshape(-1)
    for i in range(len(chosen)):
        _fetch_row(flat, chosen[min(i + SOON, len(chosen) - 1)] * size, size)
        row = chosen[i]
        for d in range(size):
            out[i, d] = factor * table[row, d]


@compiled
def put_rows(table: TableArray, chosen: Indices, rows: TableArray) -> None:
    """table[chosen[i]] = rows[i]."""
    for i in range(len(chosen)):
        row = chosen[i]
        for d in range(table.shape[1]):
            table[row, d] = rows[i, d]


@reordering
def bpr_rows(users: Floats, items: Floats, of_users: Floats, of_items: Floats) -> float:
    """Sum over rows of log(1 + sum_k exp(s_k - s_0)), s_k = users[b] . items[b, k], and its gradients.

    users, of_users: (batch, size). items, of_items: (batch, 1 + n, size), the positive first. The largest difference is
    taken out before the exponential, which cannot overflow.
    """
    batch, n_items, size = items.shape
    shares, total = np.empty(n_items, np.float32), 0.0
    for b in range(batch):
        largest = np.float32(0.0)
        for k in range(n_items):
            score = np.float32(0.0)
            for d in range(size):
                score += users[b, d] * items[b, k, d]
            shares[k] = score
            largest = max(largest, shares[k] - shares[0])
        positive, whole, rest = shares[0], np.exp(-largest), 0.0
        for k in range(1, n_items):
            shares[k] = np.exp(shares[k] - positive - largest)
            whole += shares[k]
            rest += shares[k]
        total += largest + (np.log1p(rest) if largest == 0 else np.log(np.exp(-np.float64(largest)) + rest))
        shares[0] = np.float32(0.0)
        for k in range(1, n_items):
            shares[k] /= whole
            shares[0] -= shares[k]
        of_users[b] = 0.0
        for k in range(n_items):
            for d in range(size):
                of_users[b, d] += shares[k] * items[b, k, d]
                of_items[b, k, d] = shares[k] * users[b, d]
    return total
