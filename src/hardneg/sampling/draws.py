"""Compiled draws of candidates outside an exclusion set: uniform, by weight, and among the positives of a batch.

They are counter-based: the random words of a draw are a function of stream, epoch, pair index and place only.
"""

from __future__ import annotations

import numpy as np

from hardneg.compiled import compiled, prefetch
from hardneg.philox import LOW, philox, scale_below
from hardneg.types import Floats, Indices

SOON = 8
"""Prefetch distance, in pairs."""
SHORT = 24
"""Length below which a search is linear."""


@compiled
def draw_outside(
    begin: int,
    end: int,
    key: np.uint64,
    epoch: int,
    rows: Indices,
    users: Indices,
    n_items: int,
    excluded: tuple[Indices, Indices],
    rounds: int,
    out: Indices,
) -> None:
    """Set out[b, place] to an item outside the exclusion set of users[b], uniformly, for b in begin..end.

    excluded: starts (n_users + 1,), and the excluded items of every user, ascending. A draw is a function of (key,
    epoch, rows[b], place) only. Two places share one call of the generator. After `rounds` rejections the exact complement is used.
    """
    starts, excluded_items = excluded
    for b in range(begin, end):
        prefetch(starts, users[min(b + 2 * SOON, end - 1)])
        prefetch(excluded_items, starts[users[min(b + SOON, end - 1)]])
        first, stop = starts[users[b]], starts[users[b] + 1]
        row, when = np.uint64(rows[b]) & LOW, np.uint64(epoch)
        shared = philox(key, row, when, np.uint64(0), np.uint64(0))
        for place in range(out.shape[1]):
            odd = place & 1
            if odd == 0 and place > 0:
                shared = philox(key, row, when, np.uint64(place >> 1), np.uint64(0))
            item = scale_below(shared[odd], n_items)
            attempt = 0
            while _contains(excluded_items, first, stop, item):
                attempt += 1
                words = philox(key, row, when, np.uint64(place >> 1), np.uint64(attempt))
                if attempt == rounds:
                    free = n_items - (stop - first)
                    item = _free_item(excluded_items, first, stop, scale_below(words[odd], free))
                    break
                item = scale_below(words[odd], n_items)
            out[b, place] = item


@compiled
def draw_by_weight(
    begin: int,
    end: int,
    key: np.uint64,
    epoch: int,
    rows: Indices,
    users: Indices,
    weights: tuple[Floats, int],
    excluded: tuple[Indices, Indices],
    rounds: int,
    out: Indices,
) -> None:
    """Set out[b, place] to an item outside the exclusion set of users[b], in proportion to its weight, for b in begin..end.

    weights: cumulative sums (n_items,), and the last item with a weight above 0. excluded, and draws: as in `draw_outside`.
    After `rounds` rejections the exact complement is used, which must have an item with a weight.
    """
    cumulative, last = weights
    starts, excluded_items = excluded
    total = cumulative[last]
    for b in range(begin, end):
        first, stop = starts[users[b]], starts[users[b] + 1]
        row, when = np.uint64(rows[b]) & LOW, np.uint64(epoch)
        for place in range(out.shape[1]):
            item, attempt = -1, 0
            while item < 0 or _contains(excluded_items, first, stop, item):
                words = philox(key, row, when, np.uint64(place), np.uint64(attempt))
                unit = _unit_double(words[0])
                if attempt == rounds:
                    item = _free_by_weight(cumulative, last, excluded_items[first:stop], unit)
                    break
                item = _first_above(cumulative, last, unit * total)
                attempt += 1
            out[b, place] = item


@compiled
def _unit_double(word: np.uint64) -> float:
    """Return a number in [0, 1) from the upper 53 bits."""
    return np.float64(word >> np.uint64(11)) * 2.0**-53


@compiled
def _first_above(cumulative: Floats, last: int, target: float) -> int:
    """Return the first item of 0..last whose cumulative sum exceeds the target, `last` if none does."""
    low, high = 0, last
    while low < high:
        middle = (low + high) >> 1
        if cumulative[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@compiled
def _free_by_weight(cumulative: Floats, last: int, excluded_items: Indices, unit: float) -> int:
    """Return a free item in proportion to its weight, by two passes over all items. unit: in [0, 1)."""
    target, running, item = np.inf, 0.0, -1
    for _ in range(2):
        running, at = 0.0, 0
        for candidate in range(last + 1):
            while at < len(excluded_items) and excluded_items[at] < candidate:
                at += 1
            weight = cumulative[candidate] - (cumulative[candidate - 1] if candidate > 0 else 0.0)
            if weight == 0.0 or (at < len(excluded_items) and excluded_items[at] == candidate):
                continue
            running, item = running + weight, candidate
            if running > target:
                break
        target = unit * running
    return item


@compiled
def draw_in_batch(
    begin: int,
    end: int,
    key: np.uint64,
    epoch: int,
    rows: Indices,
    users: Indices,
    batch: tuple[Indices, Indices],
    excluded: tuple[Indices, Indices],
    rounds: int,
    out: Indices,
) -> None:
    """Set out[b, place] to a positive of the batch, all equally likely, that is neither own[b] nor excluded; -1 without one.

    batch: own, the positive of each row, and the positives of the batch, with repeats. excluded, rounds: as in `draw_outside`.
    """
    own, positives = batch
    starts, excluded_items = excluded
    for b in range(begin, end):
        first, stop = starts[users[b]], starts[users[b] + 1]
        row, when = np.uint64(rows[b]) & LOW, np.uint64(epoch)
        for place in range(out.shape[1]):
            for attempt in range(rounds + 1):
                words = philox(key, row, when, np.uint64(place), np.uint64(attempt))
                item = positives[scale_below(words[0], len(positives))]
                if item != own[b] and not _contains(excluded_items, first, stop, item):
                    break
                item = -1
            out[b, place] = (
                item if item >= 0 else _left_in_batch(positives, own[b], excluded_items[first:stop], words[1])
            )


@compiled
def _left_in_batch(positives: Indices, own: int, excluded_items: Indices, word: np.uint64) -> int:
    """Return one of the positives that are neither own nor excluded, all equally likely; -1 without one."""
    left = np.empty(len(positives), np.int64)
    count = 0
    for item in positives:
        if item != own and not _contains(excluded_items, 0, len(excluded_items), item):
            left[count] = item
            count += 1
    return left[scale_below(word, count)] if count > 0 else -1


@compiled
def _contains(excluded_items: Indices, first: int, stop: int, item: int) -> bool:
    """Return True where excluded_items[first:stop], in ascending order, contains the item."""
    while stop - first > SHORT:
        middle = (first + stop) >> 1
        if excluded_items[middle] <= item:
            first = middle
        else:
            stop = middle
    matches = 0
    for k in range(first, stop):  # without a branch: faster than halving to the end
        matches += excluded_items[k] == item
    return matches > 0


@compiled
def _free_item(excluded_items: Indices, first: int, stop: int, rank: int) -> int:
    """Return the item with `rank` free items below it.

    excluded_items[j] - j counts the free items below the j-th excluded item. The result is rank + j for the largest j
    with excluded_items[j - 1] - (j - 1) <= rank.
    """
    low, high = 0, stop - first
    while low < high:
        middle = (low + high) >> 1
        if excluded_items[first + middle] - middle <= rank:
            low = middle + 1
        else:
            high = middle
    return rank + low
