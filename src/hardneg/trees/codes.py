"""Path codes of items (DTL-NS, arXiv 2602.18249): the child indices from the root of a tree to each item's leaf.

Prefix similarity, as released: sim(i, j) = LCP(code_i, code_j) / min(length_i, length_j), with the longest common prefix
LCP. In [0, 1]; 1 for equal codes and where one is a prefix of the other; 0 where either item has no code.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hardneg.compiled import compiled, in_chunks, prefetch
from hardneg.errors import DataError
from hardneg.types import Flags, Indices

END = -1
"""Fill value after the last level of a code."""
CODE = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})*")
"""Text form of a code."""
LEVELS_PER_WORD = 4
"""16-bit levels in a 64-bit word."""
NO_ITEM = -1
"""Fill value of candidate rows."""
PREFETCH = 16
"""Candidates between the current one and the one whose code is fetched into the cache."""
NONE, FIRST, SECOND, THIRD = np.uint64(0), np.uint64(0xFFFF), np.uint64(0xFFFFFFFF), np.uint64(0xFFFFFFFFFFFF)
"""Bit masks of a word's first levels."""


@dataclass(frozen=True)
class PathCodes:
    """Path codes of all items.

    codes: (n_items, depth) int16, child indices from the root to the leaf, then -1; a row of -1 is an item without a
    code. Items of one leaf have equal codes. Raises DataError where a child index follows a -1 or is below -1.
    """

    codes: NDArray[np.int16]

    def __post_init__(self) -> None:
        if self.codes.ndim != 2 or self.codes.dtype != np.int16:
            raise DataError(f"found codes of shape {self.codes.shape}, {self.codes.dtype}, expected two axes of int16")
        bad = (self.codes < END).any(axis=1) | ((self.codes[:, :-1] == END) & (self.codes[:, 1:] != END)).any(axis=1)
        if bad.any():
            first = int(bad.argmax())
            raise DataError(
                f"found {int(bad.sum()):,} path codes with a gap or a child below 0 (first: item {first}, "
                f"{self.codes[first].tolist()}), expected child indices, then -1; build the codes again"
            )

    @classmethod
    def of_texts(cls, texts: Sequence[str | None]) -> PathCodes:
        """Parse texts such as "0-3-1", one per item; None or "" is an item without a code."""
        paths = [_parse_path(text, item) for item, text in enumerate(texts)]
        lengths = np.array([len(path) for path in paths], np.int64)
        codes = np.full((len(paths), int(lengths.max(initial=0))), END, np.int16)
        codes[np.arange(codes.shape[1]) < lengths[:, None]] = [child for path in paths for child in path]
        return cls(codes)

    @property
    def n_items(self) -> int:
        """Number of items, those without a code included."""
        return len(self.codes)

    @cached_property
    def words(self) -> NDArray[np.uint64]:
        """(n_items, ceil(depth / 4)) words of four levels, upper levels in the lower bits, -1 after the last level."""
        depth = -(-self.codes.shape[1] // LEVELS_PER_WORD) * LEVELS_PER_WORD
        padded = np.full((self.n_items, depth), END, "<i2")
        padded[:, : self.codes.shape[1]] = self.codes
        return padded.view("<u8").astype(np.uint64)

    @cached_property
    def lengths(self) -> Indices:
        """(n_items,) number of levels; 0 without a code."""
        return np.asarray((self.codes != END).sum(axis=1), np.int64)

    @property
    def coded(self) -> Flags:
        """(n_items,) True where the item has a code."""
        return np.asarray(self.lengths > 0)

    @cached_property
    def leaf_sizes(self) -> Indices:
        """(leaves,) number of items of each leaf (distinct code)."""
        return np.asarray(np.unique(self.codes[self.coded], axis=0, return_counts=True)[1], np.int64)

    def texts(self) -> list[str | None]:
        """Return a text such as "0-3-1" per item, None without a code."""
        rows = zip(self.codes.tolist(), self.lengths.tolist(), strict=True)
        return ["-".join(map(str, row[:length])) if length else None for row, length in rows]

    def shuffled(self, rng: Generator) -> PathCodes:
        """Return a control: the same codes, permuted among the items that have one."""
        coded, codes = np.flatnonzero(self.coded), self.codes.copy()
        codes[coded] = self.codes[rng.permutation(coded)]
        return PathCodes(codes)

    def random_like(self, rng: Generator) -> PathCodes:
        """Return a control: codes of the same lengths and, per level, the same child indices, permuted independently.

        Codes are unrelated to the items and form no tree: two items share a prefix by chance alone.
        """
        codes = self.shuffled(rng).codes.copy()
        for level in range(codes.shape[1]):
            items = np.flatnonzero(codes[:, level] != END)
            codes[items, level] = codes[rng.permutation(items), level]
        return PathCodes(codes)


def _parse_path(text: str | None, item: int) -> list[int]:
    if not text:
        return []
    path = [int(child) for child in text.split("-")] if CODE.fullmatch(text) else [END]
    if not all(0 <= child <= np.iinfo(np.int16).max for child in path):
        raise DataError(f'found the path code {text!r} of item {item}, expected one such as "0-3-1"; correct it')
    return path


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
