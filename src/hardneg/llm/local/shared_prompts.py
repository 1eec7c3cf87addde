"""Prompts in the rows of a `CachedRows`, where equal beginnings are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from hardneg.llm.local.cached_rows import CachedRows, Prefix
from hardneg.llm.local.prefixes import MIN_SHARED, PrefixCache, n_common


class SharedPrompts:
    """Prompts of which three levels are shared: what all begin with, what some of them begin with (a user), and the rest.

    order: the prompts, so that those with equal beginnings are neighbours. prefix: what all begin with; prefixes keeps it
    for later calls. At least the last token of a prompt is left, for its scores.
    """

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], prefixes: PrefixCache) -> None:
        self._prompts = prompts
        self.order = sorted(range(len(prompts)), key=lambda index: tuple(prompts[index]))
        first, last = prompts[self.order[0]], prompts[self.order[-1]]
        shared = min(n_common(first, last), len(first) - 1)  # of the sorted prompts, these two share least
        self.prefix = prefixes.prefix(first[:shared]) if shared >= MIN_SHARED else Prefix()
        self._groups, self._group_of = CachedRows(model, self.prefix), dict[int, int]()
        self._compute_groups()

    @property
    def depth(self) -> int:
        """Length of the prefix."""
        return len(self.prefix.ids)

    def _compute_groups(self) -> None:
        """Compute what neighbours in the order share after the prefix of all."""
        prompts, parts = self._prompts, list[Sequence[int]]()
        for members in _neighbours([prompts[index] for index in self.order], self.depth):
            first, last = prompts[self.order[members[0]]], prompts[self.order[members[-1]]]
            shared = min(n_common(first, last), len(first) - 1)
            if len(members) > 1 and shared - self.depth >= MIN_SHARED:
                self._group_of |= {self.order[member]: len(parts) for member in members}
                parts.append(first[self.depth : shared])
        if parts:
            self._groups.add(len(parts), max(map(len, parts)))
            self._groups.append(parts, [0] * len(parts))

    def add_to(self, rows: CachedRows, prompts: Sequence[int], columns: int) -> tuple[list[int], list[Sequence[int]]]:
        """Add a row for each of some prompts; return the prompts in the order of the rows, and the tokens to append.

        rows: of the same prefix. columns: tokens of a row to reserve memory for, after the prefix.
        """
        ordered = sorted(prompts, key=lambda index: (index not in self._group_of, len(self._prompts[index])))
        grouped = [self._group_of[index] for index in ordered if index in self._group_of]
        before = len(rows)
        rows.add(len(grouped), columns, self._groups, grouped)
        rows.add(len(ordered) - len(grouped), columns)
        starts = rows.lengths[before:]
        left = [self._prompts[index][self.depth + start :] for index, start in zip(ordered, starts, strict=True)]
        return ordered, left


def _neighbours(prompts: Sequence[Sequence[int]], depth: int) -> list[list[int]]:
    """Group sorted prompts that share at least MIN_SHARED tokens after the first `depth`: the indices of each group."""
    groups = groupby(range(len(prompts)), key=lambda index: tuple(prompts[index][depth : depth + MIN_SHARED]))
    return [list(members) for _, members in groups]
