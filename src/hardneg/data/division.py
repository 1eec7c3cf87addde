"""The way the pairs of a split were divided: shares requested and obtained, remarks, and why a part has no pairs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from hardneg.data import columns as c
from hardneg.data.row_report import RowReport

NOTED_DIFFERENCE = 2
"""Percentage points from which a difference of shares is explained."""
SHARES, REMARKS, EMPTY_PARTS = "shares", "remarks", "parts without pairs"
"""Names of the notes in a split's manifest."""


@dataclass(frozen=True)
class Division:
    """Interactions with their part.

    requested: part -> share requested, empty where the method has no shares. cause: why the shares of `frame` may differ from
    them, or a part have no pairs. remarks: what is printed about the division,
    unless `cause` is.
    """

    frame: pl.DataFrame
    requested: Mapping[str, float] = field(default_factory=dict)
    cause: str = ""
    remarks: tuple[str, ...] = ()

    def notes(self, counts: Mapping[str, int], left_out: RowReport) -> dict[str, Any]:
        """Return the notes of the split. counts: part -> pairs after those of `left_out` were taken from `frame`."""
        divided = count_parts(self.frame)
        obtained, assigned = _shares(counts), _shares(divided)
        shares = {"requested": dict(self.requested)} if self.requested else {}
        shares["obtained"] = obtained
        remarks = [", ".join(f"{name} {_percent(values)}" for name, values in shares.items())]
        if (points := _difference(self.requested, assigned)) > NOTED_DIFFERENCE:
            remarks.append(
                f"dividing differs from the shares requested by up to {points:.1f} points, since {self.cause}"
            )
        else:
            remarks += self.remarks
        if (points := _difference(assigned, obtained)) > NOTED_DIFFERENCE:
            n = sum(issue.count for issue in left_out)
            remarks.append(f"leaving out {n:,} pairs changed the shares by up to {points:.1f} points")
        empty = {part: self._reason(part, divided[part], left_out) for part in c.PARTS if not counts[part]}
        return {SHARES: shares, REMARKS: remarks, EMPTY_PARTS: empty}

    def _reason(self, part: str, divided: int, left_out: RowReport) -> str:
        if divided:
            return f"it had {divided:,}, which were left out: {'; '.join(map(str, left_out))}"
        if self.requested.get(part) == 0:
            return f"split again with a {part} share above 0"
        return f"{self.cause}; split another way"


def count_parts(frame: pl.DataFrame) -> dict[str, int]:
    """Return the number of pairs of each part."""
    return {part: int((frame[c.SPLIT] == part).sum()) for part in c.PARTS}


def _shares(counts: Mapping[str, int]) -> dict[str, float]:
    total = max(sum(counts.values()), 1)
    return {part: counts[part] / total for part in c.PARTS}


def _difference(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Return the largest difference in percentage points; 0 where no shares were requested."""
    return 100 * max((abs(share - other[part]) for part, share in one.items()), default=0)


def _percent(shares: Mapping[str, float]) -> str:
    return "/".join(f"{round(100 * shares[part], 1):g}" for part in c.PARTS) + " %"
