"""Compiled code of NGCF's hops, one pass over a table each; rows of other tables are selected by an index."""

from __future__ import annotations

import numpy as np

from hardneg.compiled import compiled, reordering
from hardneg.models.kernels import PREFETCH_ROWS, draw_units, prefetch_row, words_for
from hardneg.types import Floats, Indices

SHORTEST = np.float32(1e-12)
"""Lower bound of the length that a row is divided by."""


@compiled
def join_rows(begin: int, end: int, rows: Indices, own: Floats, near: Floats, out: Floats) -> None:
    """Set out[m] = [own + near, own * near] of row rows[m], for m in begin..end. out: (len(rows), 2 x size)."""
    size = own.shape[1]
    for m in range(begin, end):
        row = rows[m]
        for d in range(size):
            out[m, d] = own[row, d] + near[row, d]
        for d in range(size):
            out[m, size + d] = own[row, d] * near[row, d]


@compiled
def split_rows(
    begin: int, end: int, rows: Indices, own: Floats, near: Floats, gradient: Floats, of_own: Floats, of_near: Floats
) -> None:
    """Set the gradients of rows of own and near from the gradient (len(rows), 2 x size) of `join_rows`."""
    size = own.shape[1]
    for m in range(begin, end):
        row = rows[m]
        for d in range(size):
            of_own[row, d] = gradient[m, d] + gradient[m, size + d] * near[row, d]
        for d in range(size):
            of_near[row, d] = gradient[m, d] + gradient[m, size + d] * own[row, d]


@reordering
def activate_rows(
    begin: int,
    end: int,
    rows: Indices,
    counter: tuple[np.uint64, int, int],
    share: float,
    slope: float,
    table: Floats,
    lengths: Floats,
) -> None:
    """Apply the leaky ReLU and dropout to table[m] in place, and set lengths[m] to its length, for m in begin..end.

    share: of the numbers that become 0, by the random numbers of `draw_factors` for row rows[m]; 0 draws none.
    """
    size, below, dropped = table.shape[1], np.float32(slope), np.float32(share)
    factor, units, words = np.float32(1 / (1 - share)), np.ones(size, np.float32), words_for(size)
    for m in range(begin, end):
        if share > 0:
            draw_units(counter, rows[m], words, units)
        squares = np.float32(0.0)
        for d in range(size):
            number = table[m, d]
            number *= np.float32(1.0) if number > 0 else below
            number *= np.float32(0.0) if units[d] < dropped else factor
            table[m, d] = number
            squares += number * number
        lengths[m] = max(np.sqrt(squares), SHORTEST)


@compiled
def deactivate_rows(
    begin: int, end: int, table: Floats, slope: float, at_zero: float, factor: float, gradient: Floats
) -> None:
    """Multiply the gradient of `activate_rows` by factor x its slope: 1 above 0, `slope` below, `at_zero` at 0."""
    above, below, zero = np.float32(factor), np.float32(slope * factor), np.float32(at_zero * factor)
    for m in range(begin, end):
        for d in range(table.shape[1]):
            number = table[m, d]
            gradient[m, d] *= above if number > 0 else (below if number < 0 else zero)


@compiled
def put_units(
    begin: int, end: int, rows: Indices, places: Indices, table: Floats, lengths: Floats, out: Floats, column: int
) -> None:
    """Set out[rows[m], column:] to table[places[m]] / lengths[places[m]], for m in begin..end."""
    for m in range(begin, end):
        row, place = rows[m], places[m]
        for d in range(table.shape[1]):
            out[row, column + d] = table[place, d] / lengths[place]


@reordering
def add_gradient_of_units(
    places: Indices, of_units: Floats, column: int, table: Floats, lengths: Floats, into: Floats
) -> None:
    """Add to into[places[m]] the gradient through table / lengths of of_units[m, column:]; places may repeat."""
    size, flat_table, flat_into = table.shape[1], table.reshape(-1), into.reshape(-1)
    for m in range(len(places)):
        ahead = places[min(m + PREFETCH_ROWS, len(places) - 1)] * size
        prefetch_row(flat_table, ahead, size)
        prefetch_row(flat_into, ahead, size)
        place = places[m]
        scale, along = 1 / lengths[place], np.float32(0.0)
        for d in range(size):
            along += table[place, d] * of_units[m, column + d]
        along *= scale * scale
        for d in range(size):
            into[place, d] += scale * (of_units[m, column + d] - along * table[place, d])
