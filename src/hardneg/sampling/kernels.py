"""Compiled kernels of samplers: values and scores of candidates, selection by score, and mixing."""

from __future__ import annotations

import numpy as np

from hardneg.compiled import compiled, prefetch, reordering
from hardneg.types import Floats, Indices

SOON = 8
"""Prefetch distance, in pairs or rows."""
LINE = 16
"""32-bit numbers per cache line."""


@compiled
def look_up(
    begin: int,
    end: int,
    users: Indices,
    items: Indices,
    starts: Indices,
    listed: Indices,
    values: Floats,
    out: Floats,
) -> None:
    """Set out[b, place] to the value of the pair (users[b], items[b, place]); without one it is unchanged.

    starts (n_users + 1,), listed: offsets, and the listed items of every user, ascending. values: of listed pairs.
    """
    for b in range(begin, end):
        first, stop = starts[users[b]], starts[users[b] + 1]
        for place in range(items.shape[1]):
            low, high = first, stop
            while low < high:
                middle = (low + high) >> 1
                if listed[middle] < items[b, place]:
                    low = middle + 1
                else:
                    high = middle
            if low < stop and listed[low] == items[b, place]:
                out[b, place] = values[low]


@compiled
def _fetch_soon(flat: Floats, size: int, candidates: Indices, at: int) -> None:
    """Prefetch the table row of a later candidate. The table and the candidates are flat."""
    soon = candidates[min(at + 2 * SOON, len(candidates) - 1)] * size
    for line in range(soon, soon + size, LINE):
        prefetch(flat, line)


@reordering
def _score(queries: Floats, b: int, table: Floats, candidate: int) -> np.float32:
    total = np.float32(0.0)
    for d in range(queries.shape[1]):
        total += queries[b, d] * table[candidate, d]
    return total


@reordering
def best_candidates(begin: int, end: int, queries: Floats, table: Floats, candidates: Indices, chosen: Indices) -> None:
    """Set chosen[b] to the candidate of row b with the largest inner product of its table row with queries[b].

    queries: (batch, size). table: (n, size). candidates: (batch, n). The first of equal candidates wins; the first
    candidate whose score is NaN wins over all.
    """
    size, flat, all_candidates, n = queries.shape[1], table.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    for b in range(begin, end):
        best, largest = candidates[b, 0], np.float32(-np.inf)
        for place in range(n):
            _fetch_soon(flat, size, all_candidates, b * n + place)
            total = _score(queries, b, table, candidates[b, place])
            if total > largest or np.isnan(total):
                best, largest = candidates[b, place], total
                if np.isnan(total):
                    break
        chosen[b] = best


@reordering
def score_candidates(begin: int, end: int, queries: Floats, table: Floats, candidates: Indices, out: Floats) -> None:
    """Set out[b, place] to the inner product of queries[b] with the table row of candidates[b, place]."""
    size, flat, all_candidates, n = queries.shape[1], table.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    for b in range(begin, end):
        for place in range(n):
            _fetch_soon(flat, size, all_candidates, b * n + place)
            out[b, place] = _score(queries, b, table, candidates[b, place])


@reordering
def mean_preferences(
    begin: int,
    end: int,
    users: Floats,
    table: Floats,
    starts: Indices,
    positives: Indices,
    items: Indices,
    out: Floats,
) -> None:
    """Set out[u, place] to the mean of sigmoid(s(u, items[u, place]) - s(u, i)) over the positives i of u; NaN without any.

    users: (n_users, size). table: (n_items, size). starts, positives: offsets, and the items of every user.
    """
    for u in range(begin, end):
        own = positives[starts[u] : starts[u + 1]]
        reference = np.empty(len(own), np.float64)
        for k in range(len(own)):
            reference[k] = _score(users, u, table, own[k])
        for place in range(items.shape[1]):
            score, total = np.float64(_score(users, u, table, items[u, place])), 0.0
            for k in range(len(own)):
                total += 1.0 / (1.0 + np.exp(reference[k] - score))
            out[u, place] = total / len(own) if len(own) > 0 else np.nan


@reordering
def argmax_with_bonus(
    begin: int,
    end: int,
    queries: Floats,
    table: Floats,
    candidates: Indices,
    bonus: Floats,
    epsilon: Floats,
    places: Indices,
) -> None:
    """Set places[b] to the column of the candidate with the largest (s - min) / (max - min + epsilon[b]) + bonus[b].

    s are the inner products of `best_candidates`, with the same rule for equal scores and NaN. bonus: (batch, n).
    epsilon: (batch,).
    """
    size, flat, all_candidates, n = queries.shape[1], table.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    scores = np.empty(n, np.float32)
    for b in range(begin, end):
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for place in range(n):
            _fetch_soon(flat, size, all_candidates, b * n + place)
            score = _score(queries, b, table, candidates[b, place])
            low, high = (score if score < low else low), (score if score > high else high)
            scores[place] = score
        span, best, largest = high - low + epsilon[b], 0, -np.inf
        for place in range(n):
            total = (scores[place] - low) / span + bonus[b, place]
            if total > largest or np.isnan(total):
                best, largest = place, total
                if np.isnan(total):
                    break
        places[b] = best


@compiled
def pick_ranked(preferences: Floats, ranks: Indices, places: Indices) -> None:
    """Set places[b] to the column of preferences[b] with rank ranks[b], where 0 is the largest.

    Of equal preferences the earlier ranks higher. The first NaN of a row is returned at any rank. Only the best
    ranks[b] + 1 columns are kept in order.
    """
    order = np.empty(preferences.shape[1], np.int64)
    for b in range(len(preferences)):
        count, limit, row = 0, ranks[b] + 1, preferences[b]
        for place in range(len(row)):
            if np.isnan(row[place]):
                order[limit - 1] = place
                break
            if count < limit:
                count += 1
            elif row[place] <= row[order[limit - 1]]:
                continue
            rank = count - 1
            while rank > 0 and row[place] > row[order[rank - 1]]:
                order[rank] = order[rank - 1]
                rank -= 1
            order[rank] = place
        places[b] = order[limit - 1]


@compiled
def scale_and_add(preferences: Floats, epsilon: Floats, bonus: Floats) -> None:
    """Replace every row b of preferences (batch, n) by (p - min) / (max - min + epsilon[b]) + bonus[b], in place.

    NaN stays NaN and does not affect the minimum and the maximum. epsilon: (batch,). bonus: (batch, n).
    """
    for b in range(len(preferences)):
        low, high = np.inf, -np.inf
        for p in preferences[b]:
            low, high = p if p < low else low, p if p > high else high
        span = high - low + epsilon[b]
        for place in range(preferences.shape[1]):
            preferences[b, place] = (preferences[b, place] - low) / span + bonus[b, place]


@compiled
def mix_rows(table: Floats, positives: Indices, others: Indices, a: Floats, share: float, out: Floats) -> None:
    """Add share x (a[b] table[positives[b]] + (1 - a[b]) table[others[b]]) to out[b]. out: (batch, size)."""
    weight, one, size, flat = np.float32(share), np.float32(1.0), table.shape[1], table.reshape(-1)
    for b in range(len(positives)):
        _fetch_soon(flat, size, positives, b)
        _fetch_soon(flat, size, others, b)
        positive, other, mix = positives[b], others[b], a[b]
        for d in range(size):
            out[b, d] += weight * (mix * table[positive, d] + (one - mix) * table[other, d])


@compiled
def unmix_rows(gradient: Floats, a: Floats, share: float, of_positives: Floats, of_others: Floats) -> None:
    """Add the gradients of `mix_rows` with respect to the gathered rows; all arrays are (batch, size)."""
    weight, one = np.float32(share), np.float32(1.0)
    for b in range(len(gradient)):
        toward, away = weight * a[b], weight * (one - a[b])
        for d in range(gradient.shape[1]):
            of_positives[b, d] += toward * gradient[b, d]
            of_others[b, d] += away * gradient[b, d]
