"""Path codes: the child indices from the root of a tree to each item's leaf (DTL-NS, arXiv 2602.18249)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from hardneg.errors import DataError
from hardneg.types import Flags, Indices

END = -1
"""Fill value after the last level of a code."""
CODE = re.compile(r"[0-9]{1,5}(-[0-9]{1,5})*")
"""Text form of a code."""
LEVELS_PER_WORD = 4
"""16-bit levels in a 64-bit word."""


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
