"""Keys and values of prompt prefixes, kept between batches in bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from hardneg.llm.local.cached_rows import CachedRows, Prefix

MIN_SHARED = 32
"""Minimum length of a common prefix that gets a pass of its own."""
MAX_BYTES = 256 * 2**20
"""Memory of all prefixes kept; a larger one is computed and not kept."""


class PrefixCache:
    """The most recently used prefixes of one model; a prefix of a kept one is cut from it."""

    def __init__(self, model: Any, max_bytes: int = MAX_BYTES) -> None:
        self._model, self._max_bytes = model, max_bytes
        self._kept: list[Prefix] = []

    def prefix(self, ids: Sequence[int]) -> Prefix:
        """Return the prefix of these tokens; what it shares with a kept one is not computed again."""
        if not ids:
            return Prefix()
        best = max(self._kept, key=lambda kept: n_common(kept.ids, ids), default=Prefix())
        shared = n_common(best.ids, ids)
        if shared == len(ids):
            self._keep(best)
            return cut(best, shared)
        rows = CachedRows(self._model, cut(best, shared))
        rows.add(1, len(ids) - shared)
        rows.append([ids[shared:]], [0])
        prefix = rows.as_prefix(ids[shared:])
        self._keep(prefix)
        return prefix

    def _keep(self, prefix: Prefix) -> None:
        """Keep a prefix as the most recent one, in place of those that it begins with."""
        self._kept = [kept for kept in self._kept if n_common(kept.ids, prefix.ids) < len(kept.ids)]
        self._kept.append(prefix)
        while self._kept and sum(kept.n_bytes for kept in self._kept) > self._max_bytes:
            self._kept.pop(0)


def cut(prefix: Prefix, length: int) -> Prefix:
    """Return the first tokens of a prefix."""
    layers = {index: (keys[:, :length], values[:, :length]) for index, (keys, values) in prefix.layers.items()}
    return prefix if length == len(prefix.ids) else Prefix(prefix.ids[:length], layers if length else {})


def n_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Return the number of tokens that both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))
