"""Items of the interactions that have a row in the item table, and the spelling that would give more of them one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

from hardneg.data import columns as c
from hardneg.data.ids import normalise

FEW = 0.5
"""Share of items with a row below which examples of both tables are noted."""
SOME = 0.05
"""Share of the other items that have a row in another spelling, from which this is noted as well."""
MAX_COMPARED = 2**20
"""Number of ids of the item table that are compared in other spellings."""
_ID = pl.col(c.ITEM_ID)
SPELLINGS = {
    "say --normalise-ids strip": normalise(c.ITEM_ID, "strip"),
    "say --normalise-ids integer": normalise(c.ITEM_ID, "integer"),
    "write both in one case": _ID.str.strip_chars().str.to_lowercase(),
    "leave out the quotes": _ID.str.strip_chars(" \t\"'"),
}
"""Remedy -> spelling in which ids are compared."""


@dataclass
class ItemJoin:
    """Ids of the interactions, and of the item table, which are added in blocks.

    known: distinct ids of the interactions.
    """

    known: pl.Series
    _matched: list[pl.Series] = field(default_factory=list)
    _others: list[pl.Series] = field(default_factory=list)
    _n_others: int = 0

    def add(self, ids: pl.Series) -> pl.Series:
        """Add ids of the item table; return (rows,) flags of those in the interactions."""
        is_known = ids.is_in(self.known.implode())
        self._matched.append(ids.filter(is_known).unique())
        if self._n_others < MAX_COMPARED:
            self._others.append(ids.filter(~is_known))
            self._n_others += len(self._others[-1])
        return is_known

    def notes(self) -> dict[str, Any]:
        """Return the number of items, that of items with a row, and what would give more of them one, if known."""
        matched = pl.concat([self.known.head(0), *self._matched]).unique()
        notes: dict[str, Any] = {"items": len(self.known), "with a row": len(matched)}
        without = self.known.filter(~self.known.is_in(matched.implode())).sort()
        if len(without) and self._n_others:
            example = _compare(without, pl.concat(self._others))
            if len(matched) < FEW * len(self.known) or example.get("would match", 0) >= SOME * len(without):
                notes["example"] = example
        return notes


def _compare(without: pl.Series, others: pl.Series) -> dict[str, Any]:
    """Return an id of each table, and the spelling in which most of them agree."""
    best: dict[str, Any] = {"item table": others[0], "interactions": without[0]}
    most = 0
    for remedy, spelling in SPELLINGS.items():
        left, right = (
            ids.alias(c.ITEM_ID).to_frame().with_columns(spelling.alias("spelling")) for ids in (without, others)
        )
        pairs = left.unique("spelling", maintain_order=True).join(
            right.unique("spelling", maintain_order=True), on="spelling", maintain_order="left"
        )
        if len(pairs) > most:
            most, (known, _, other) = len(pairs), pairs.row(0)
            best = {"item table": other, "interactions": known, "would match": most, "remedy": remedy}
    return best


def render_item_join(notes: dict[str, Any]) -> str:
    """Return the notes of a join in words."""
    n_items, n_with_row = notes["items"], notes["with a row"]
    share = n_with_row / max(n_items, 1)
    text = f"{n_with_row:,} of {n_items:,} items of the interactions ({share:.1%}) have a row in the item table"
    if (example := notes.get("example")) is None:
        return text
    text += f"; it has {example['item table']!r}, the interactions {example['interactions']!r}"
    if "remedy" not in example:
        return f"{text}; are these ids of the same items?"
    return f"{text}; {example['remedy']}, so that {example['would match']:,} more match"
