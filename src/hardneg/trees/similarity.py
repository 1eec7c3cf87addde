"""Prefix similarity of items: the common prefix of their path codes relative to the shorter code.

sim(i, j) = LCP(code_i, code_j) / min(length_i, length_j) (DTL-NS, arXiv 2602.18249, as released). In [0, 1]; 1 for equal
codes and where one code is a prefix of the other; 0 where either item has no code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hardneg.compiled import compiled, in_chunks, prefetch
from hardneg.errors import DataError
from hardneg.trees.codes import LEVELS_PER_WORD, PathCodes
from hardneg.types import Indices

NO_ITEM = -1
"""Fill value of candidate rows."""
PREFETCH = 16
"""Candidates between the current one and the one whose code is fetched into the cache."""
NONE, FIRST, SECOND, THIRD = np.uint64(0), np.uint64(0xFFFF), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFF)
"""Bit masks of a word's first levels."""


def prefix_similarity(codes: PathCodes, items: Indices, candidates: Indices) -> NDArray[np.float32]:
    """Return the similarity of items (batch,) with candidates (batch, n) by row: (batch, n) in [0, 1].

    A candidate of -1 gets 0. Raises DataError where an item is outside the codes, or where the shapes do not match.
    """
    if candidates.ndim != 2 or items.shape != candidates.shape[:1]:
        raise DataError(
            f"found items of shape {items.shape} and candidates of shape {candidates.shape}, expected (batch,) and "
            "(batch, n); pass one row of candidates per item"
        )
    _require_items(codes, items, least=0)
    _require_items(codes, candidates, least=NO_ITEM)
    out = np.empty(candidates.shape, np.float32)
    in_chunks(_similarities, len(items), codes.words, codes.lengths, items, candidates, out)
    return out


class BestInHistory(NamedTuple):
    """Best match of each candidate (users, n) with an item of the user's history, 0 for an empty history.

    prefix: (users, n) int16, longest common prefix in levels. similarity: (users, n) float32, largest similarity; it may
    belong to another item.
    """

    prefix: NDArray[np.int16]
    similarity: NDArray[np.float32]


def best_in_history(codes: PathCodes, starts: Indices, history: Indices, candidates: Indices) -> BestInHistory:
    """Compare every candidate with all items of its user's history.

    starts: (users + 1,), history: (pairs,): the items history[starts[u]:starts[u + 1]] belong to row u of candidates
    (users, n); for all train users, `train.starts` and `train.items`. A candidate of -1 gets 0. Raises DataError where
    an item is outside the codes, or where the shapes do not match.
    """
    if len(starts) != len(candidates) + 1 or starts[0] < 0 or starts[-1] > len(history) or (np.diff(starts) < 0).any():
        raise DataError(
            f"found {len(starts) - 1:,} histories over {len(history):,} pairs and candidates of {len(candidates):,} "
            "users, expected as many of each; pass one history per row of candidates, in order"
        )
    _require_items(codes, history, least=0)
    _require_items(codes, candidates, least=NO_ITEM)
    best = BestInHistory(np.empty(candidates.shape, np.int16), np.empty(candidates.shape, np.float32))
    in_chunks(_best, len(candidates), codes.words, codes.lengths, starts, history, candidates, *best)
    return best


def _require_items(codes: PathCodes, items: Indices, *, least: int) -> None:
    if items.size and not least <= items.min() <= items.max() < codes.n_items:
        raise DataError(
            f"found items {items.min()}..{items.max()}, expected {least}..{codes.n_items - 1}, which have codes; build "
            "the trees from this split"
        )


@compiled
def _common_levels(words: NDArray[np.uint64], a: int, b: int) -> int:
    """Return the levels that two items share from the root, four at a time; for equal codes also those after the end."""
    n_words: int = words.shape[1]
    for word in range(n_words):
        difference = words[a, word] ^ words[b, word]
        if difference != NONE:
            return (
                LEVELS_PER_WORD * word
                + int((difference & FIRST) == NONE)
                + int((difference & SECOND) == NONE)
                + int((difference & THIRD) == NONE)
            )
    return LEVELS_PER_WORD * n_words


@compiled
def _similarities(
    begin: int,
    end: int,
    words: NDArray[np.uint64],
    lengths: Indices,
    items: Indices,
    candidates: Indices,
    out: NDArray[np.float32],
) -> None:
    flat, all_candidates, n = words.reshape(-1), candidates.reshape(-1), candidates.shape[1]
    for b in range(begin, end):
        item = items[b]
        for k in range(n):
            upcoming = max(all_candidates[min(b * n + k + PREFETCH, len(all_candidates) - 1)], 0)
            prefetch(lengths, upcoming)
            prefetch(flat, upcoming * words.shape[1])
            candidate, least = candidates[b, k], 0
            if candidate >= 0:
                least = min(lengths[item], lengths[candidate])
            shared = min(_common_levels(words, item, candidate), least)
            out[b, k] = np.float32(shared) / np.float32(max(least, 1))


@compiled
def _best(
    begin: int,
    end: int,
    words: NDArray[np.uint64],
    lengths: Indices,
    starts: Indices,
    history: Indices,
    candidates: Indices,
    prefix: NDArray[np.int16],
    similarity: NDArray[np.float32],
) -> None:
    for user in range(begin, end):
        for column in range(candidates.shape[1]):
            candidate = candidates[user, column]
            longest, largest = 0, 0.0
            for k in range(starts[user], starts[user + 1]):
                least = 0
                if candidate >= 0:
                    least = min(lengths[history[k]], lengths[candidate])
                if least > 0:
                    common = min(_common_levels(words, history[k], candidate), least)
                    longest, largest = max(longest, common), max(largest, common / least)
            prefix[user, column], similarity[user, column] = longest, largest
