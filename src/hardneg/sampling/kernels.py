"""Compiled code of sampling: draws by counter, rejection, the exact complement, and the choice of the best candidate."""

from __future__ import annotations

import numpy as np

from hardneg.compiled import compiled, fetch, reordering
from hardneg.philox import LOW, below, philox
from hardneg.types import Floats, Indices

SOON = 8
"""Pairs or rows between the one at hand and the one that is fetched into the cache."""
LINE = 16
"""Numbers of a cache line."""
SHORT = 24
"""Entries that are compared one after another."""


@compiled
def draw_outside(
    begin: int,
    end: int,
    key: np.uint64,
    epoch: int,
    rows: Indices,
    users: Indices,
    n_items: int,
    starts: Indices,
    taken: Indices,
    rounds: int,
    out: Indices,
) -> None:
    """out[b, place]: an item that users[b] has not taken, uniform over those, for b of begin..end.

    starts (n_users + 1,), taken: every user's items, ascending. The number of a draw depends on (key, epoch, rows[b],
    place) alone; two places share one call of the generator. After `rounds` rejections the item comes from the exact
    complement.
    """
    for b in range(begin, end):
        fetch(starts, users[min(b + 2 * SOON, end - 1)])
        fetch(taken, starts[users[min(b + SOON, end - 1)]])
        first, stop = starts[users[b]], starts[users[b] + 1]
        row, when = np.uint64(rows[b]) & LOW, np.uint64(epoch)
        shared = philox(key, row, when, np.uint64(0), np.uint64(0))
        for place in range(out.shape[1]):
            odd = place & 1
            if odd == 0 and place > 0:
                shared = philox(key, row, when, np.uint64(place >> 1), np.uint64(0))
            item = below(shared[odd], n_items)
            attempt = 0
            while _among(taken, first, stop, item):
                attempt += 1
                words = philox(key, row, when, np.uint64(place >> 1), np.uint64(attempt))
                if attempt == rounds:
                    free = n_items - (stop - first)
                    item = _free_item(taken, first, stop, below(words[odd], free))
                    break
                item = below(words[odd], n_items)
            out[b, place] = item


@compiled
def _among(taken: Indices, first: int, stop: int, item: int) -> bool:
    """Is item in the ascending taken[first:stop]?"""
    while stop - first > SHORT:
        middle = (first + stop) >> 1
        if taken[middle] <= item:
            first = middle
        else:
            stop = middle
    found = 0
    for k in range(first, stop):  # without a branch: faster than halving to the end
        found += taken[k] == item
    return found > 0


@compiled
def _free_item(taken: Indices, first: int, stop: int, rank: int) -> int:
    """The item with `rank` free items below it: j taken ones lie below it, for the largest j with taken[j - 1] - (j - 1)
    <= rank, since taken[j] - j counts the free items below the j-th taken one."""
    low, high = 0, stop - first
    while low < high:
        middle = (low + high) >> 1
        if taken[first + middle] - middle <= rank:
            low = middle + 1
        else:
            high = middle
    return rank + low


@compiled
def _fetch_soon(flat: Floats, size: int, candidates: Indices, at: int) -> None:
    """Ask for the table row of an item a little behind the one at hand; table and candidates flat."""
    soon = candidates[min(at + 2 * SOON, len(candidates) - 1)] * size
    for line in range(soon, soon + size, LINE):
        fetch(flat, line)


@reordering
def _score(queries: Floats, b: int, table: Floats, candidate: int) -> np.float32:
    total = np.float32(0.0)
    for d in range(queries.shape[1]):
        total += queries[b, d] * table[candidate, d]
    return total


@reordering
def best_candidates(begin: int, end: int, queries: Floats, table: Floats, candidates: Indices, chosen: Indices) -> None:
    """chosen[b]: the candidate of row b whose table row has the largest inner product with queries[b]; of equals the
    first, and the first that is no number before all. queries (batch, size), table (n, size), candidates (batch, n)."""
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
    """out[b, place]: the inner product of queries[b] with the table row of candidates[b, place]; shapes as above."""
    size, flat, all_candidates, n = queries.shape[1], table.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    for b in range(begin, end):
        for place in range(n):
            _fetch_soon(flat, size, all_candidates, b * n + place)
            out[b, place] = _score(queries, b, table, candidates[b, place])


@reordering
def argmax_with_bonus(
    begin: int,
    end: int,
    queries: Floats,
    table: Floats,
    candidates: Indices,
    bonus: Floats,
    spare: Floats,
    places: Indices,
) -> None:
    """places[b]: where in candidates[b] the candidate stands whose (s - min) / (max - min + spare[b]) + bonus[b] is the
    largest, s being the inner products of `best_candidates`; of equals and of what is no number as there.
    bonus (batch, n), spare (batch,)."""
    size, flat, all_candidates, n = queries.shape[1], table.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    scores = np.empty(n, np.float32)
    for b in range(begin, end):
        low, high = np.float32(np.inf), np.float32(-np.inf)
        for place in range(n):
            _fetch_soon(flat, size, all_candidates, b * n + place)
            score = _score(queries, b, table, candidates[b, place])
            low, high = (score if score < low else low), (score if score > high else high)
            scores[place] = score
        whole, best, largest = high - low + spare[b], 0, -np.inf
        for place in range(n):
            total = (scores[place] - low) / whole + bonus[b, place]
            if total > largest or np.isnan(total):
                best, largest = place, total
                if np.isnan(total):
                    break
        places[b] = best


@compiled
def pick_ranked(preferences: Floats, ranks: Indices, places: Indices) -> None:
    """places[b]: where in preferences[b] the number stands that ranks[b] others go before; the larger goes before, of equals
    the earlier. No more than the best ranks[b] + 1 are kept in order. What is no number is taken at once."""
    order = np.empty(preferences.shape[1], np.int64)
    for b in range(len(preferences)):
        kept, most, of = 0, ranks[b] + 1, preferences[b]
        for place in range(len(of)):
            if np.isnan(of[place]):
                order[most - 1] = place
                break
            if kept < most:
                kept += 1
            elif of[place] <= of[order[most - 1]]:
                continue
            behind = kept - 1
            while behind > 0 and of[place] > of[order[behind - 1]]:
                order[behind] = order[behind - 1]
                behind -= 1
            order[behind] = place
        places[b] = order[most - 1]


@compiled
def scale_and_add(preferences: Floats, spare: Floats, bonus: Floats) -> None:
    """In place: (p - min) / (max - min + spare[b]) + bonus over every row b; what is no number stays so and counts for no
    other. preferences, bonus (batch, n), spare (batch,)."""
    for b in range(len(preferences)):
        low, high = np.inf, -np.inf
        for p in preferences[b]:
            low, high = p if p < low else low, p if p > high else high
        whole = high - low + spare[b]
        for place in range(preferences.shape[1]):
            preferences[b, place] = (preferences[b, place] - low) / whole + bonus[b, place]


@compiled
def mix_rows(table: Floats, positives: Indices, others: Indices, a: Floats, share: float, out: Floats) -> None:
    """out[b] += share x (a[b] table[positives[b]] + (1 - a[b]) table[others[b]]); out (batch, size)."""
    weight, one, size, flat = np.float32(share), np.float32(1.0), table.shape[1], table.reshape(-1)
    for b in range(len(positives)):
        _fetch_soon(flat, size, positives, b)
        _fetch_soon(flat, size, others, b)
        positive, other, mix = positives[b], others[b], a[b]
        for d in range(size):
            out[b, d] += weight * (mix * table[positive, d] + (one - mix) * table[other, d])


@compiled
def unmix_rows(gradient: Floats, a: Floats, share: float, of_positives: Floats, of_others: Floats) -> None:
    """The gradients of `mix_rows` for the rows it took, added: all (batch, size)."""
    weight, one = np.float32(share), np.float32(1.0)
    for b in range(len(gradient)):
        toward, away = weight * a[b], weight * (one - a[b])
        for d in range(gradient.shape[1]):
            of_positives[b, d] += toward * gradient[b, d]
            of_others[b, d] += away * gradient[b, d]
