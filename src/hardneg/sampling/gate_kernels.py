"""Compiled passes of samplers with gates, which hold one candidate at a time: no array (batch, candidates, size) exists.

Rows of candidates are distinct, (m, size), as `gates.distinct_rows` returns them; places (batch, n) point to them.
"""

from __future__ import annotations

import numpy as np

from hardneg.compiled import reordering
from hardneg.types import Floats, Indices


@reordering
def gate_value(x: np.float32) -> np.float32:
    """Return 1 / (1 + exp(-x)), with an error of at most 2e-7, by operations that vectors have.

    With t = tanh(x / 8) by Lambert's continued fraction, of which seven terms are exact to float32 below 2.2, the formula
    of the double angle gives tanh(x / 4) and tanh(x / 2). Beyond 17 it is that of 17.
    """
    x = min(max(x, np.float32(-17.0)), np.float32(17.0)) * np.float32(0.125)
    s = x * x
    above = x * (np.float32(135135.0) + s * (np.float32(17325.0) + s * (np.float32(378.0) + s)))
    below = np.float32(135135.0) + s * (np.float32(62370.0) + s * (np.float32(3150.0) + s * np.float32(28.0)))
    t = above / below
    t = np.float32(2.0) * t / (np.float32(1.0) + t * t)
    t = np.float32(2.0) * t / (np.float32(1.0) + t * t)
    return np.float32(0.5) + np.float32(0.5) * t


@reordering
def _sign(x: np.float32) -> np.float32:
    return np.float32(x > 0) - np.float32(x < 0)


@reordering
def choose_by_gates(
    begin: int,
    end: int,
    users: Floats,
    rows: Floats,
    projected: Floats,
    shifts: Floats,
    places: Indices,
    share: float,
    columns: Indices,
) -> None:
    """Set columns[b] to the m with the largest u . (share n - gate_value(q + shift) * n), n and q the rows of candidate m.

    users, shifts: (batch, size). rows, projected: (m, size), n and q. The first of equal ones wins, and the first whose
    score is not finite.
    """
    part = np.float32(share)
    for b in range(begin, end):
        best = np.float32(-np.inf)
        columns[b] = 0
        for m in range(places.shape[1]):
            n, q, score = rows[places[b, m]], projected[places[b, m]], np.float32(0.0)
            for d in range(len(n)):
                score += users[b, d] * n[d] * (part - gate_value(q[d] + shifts[b, d]))
            if score > best or not np.isfinite(score):
                best, columns[b] = score, m
                if not np.isfinite(score):  # training ends with the loss of such a row
                    break


@reordering
def gate_sums(
    begin: int,
    end: int,
    pairs: Floats,
    rows: Floats,
    places: Indices,
    directions: Floats,
    margin: Floats,
    sums: Floats,
) -> None:
    """Set sums[b, m] to six sums over the dimensions d, for the gate g = gate_value(q a) of a pair and a candidate.

    pairs: (batch, 3 size), u, p and a side by side. rows: (m, 2 size), n and q. directions r: (batch, n, size). margin w:
    (size,). sums: (batch, n, 6) of u n, u (1 - 2 g) n, (g (n - p))^2, ((1 - g)^2 p n)^2, w g^2 p n, and
    u r sign(p - n); that is the sign of (1 - g) (p - n), since g < 1.
    """
    size, one = len(margin), np.float32(1.0)
    for b in range(begin, end):
        for m in range(places.shape[1]):
            k = places[b, m]
            score, contrast, near = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            apart, weighted, moved = np.float32(0.0), np.float32(0.0), np.float32(0.0)
            for d in range(size):
                u, p, n = pairs[b, d], pairs[b, size + d], rows[k, d]
                g = gate_value(rows[k, size + d] * pairs[b, 2 * size + d])
                difference, both, rest = n - p, p * n, one - g
                score += u * n
                contrast += u * (rest - g) * n
                near += g * g * difference * difference
                apart += rest * rest * rest * rest * both * both
                weighted += margin[d] * g * g * both
                moved -= u * directions[b, m, d] * _sign(difference)
            sums[b, m, 0], sums[b, m, 1], sums[b, m, 2] = score, contrast, near
            sums[b, m, 3], sums[b, m, 4], sums[b, m, 5] = apart, weighted, moved


@reordering
def gate_sum_gradients(
    pairs: Floats,
    rows: Floats,
    places: Indices,
    margin: Floats,
    arriving: Floats,
    to_pairs: Floats,
    to_rows: Floats,
    to_margin: Floats,
) -> None:
    """Add the gradients of the second to the fifth sum of `gate_sums`, of which arriving (batch, n, 4) comes, to its inputs."""
    size, one, two = len(margin), np.float32(1.0), np.float32(2.0)
    for b in range(len(pairs)):
        for m in range(places.shape[1]):
            k = places[b, m]
            of_contrast, of_near = arriving[b, m, 0], two * arriving[b, m, 1]
            of_apart, of_weighted = two * arriving[b, m, 2], arriving[b, m, 3]
            for d in range(size):
                u, p, a = pairs[b, d], pairs[b, size + d], pairs[b, 2 * size + d]
                n, q = rows[k, d], rows[k, size + d]
                g = gate_value(q * a)
                difference, both, rest, w = n - p, p * n, one - g, of_weighted * margin[d]
                cubed = of_apart * rest * rest * rest * both
                of_difference = of_near * g * g * difference
                of_both = cubed * rest + w * g * g
                of_gate = of_near * g * difference * difference - two * (of_contrast * u * n + (cubed - w * g) * both)
                of_gate *= g * rest
                to_pairs[b, d] += of_contrast * (rest - g) * n
                to_pairs[b, size + d] += of_both * n - of_difference
                to_pairs[b, 2 * size + d] += of_gate * q
                to_rows[k, d] += of_contrast * (rest - g) * u + of_difference + of_both * p
                to_rows[k, size + d] += of_gate * a
            if of_weighted != 0:
                for d in range(size):
                    g = gate_value(rows[k, size + d] * pairs[b, 2 * size + d])
                    to_margin[d] += of_weighted * g * g * pairs[b, size + d] * rows[k, d]
