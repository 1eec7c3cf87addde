"""Conversion of string columns to typed ones; rows with a missing id or a bad number are left out and reported."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW
from hardneg.data.readers.table import MAX_NUMBER, is_blank
from hardneg.data.row_report import RowCounter

Clock = Literal["seconds", "milliseconds", "date"]
"""Format of a source's timestamps; dates are `2018-01-31 12:00:00` or `2018-01-31`, in UTC."""
_NUMBER = "_number"


def type_interactions(
    frame: pl.DataFrame, path: Path, counter: RowCounter, clock: Clock = "seconds", *, id_names: str = "an id"
) -> pl.DataFrame:
    """Return typed columns user_id, item_id and, if present, rating, timestamp (seconds), review and split.

    frame: ROW (line numbers) and these columns as strings. A blank rating, timestamp or review becomes null.
    id_names: names of the ids in the file, for the row report.
    """
    frame = counter.drop(frame, is_blank(c.USER_ID, c.ITEM_ID), path.name, f"without {id_names}", f"line {{{ROW}}}")
    for column, kind, number in ((c.RATING, "a number", _as_float(c.RATING)), (c.TIMESTAMP, *_CLOCKS[clock])):
        if column in frame.columns:
            frame = frame.with_columns(number.alias(_NUMBER))
            wrong = ~is_blank(column) & ~(pl.col(_NUMBER).abs() < MAX_NUMBER).fill_null(value=False)
            reason, first = f"without {kind} as {column}", f"line {{{ROW}}}, {column} {{{column}!r}}"
            frame = counter.drop(frame, wrong, path.name, reason, first)
            frame = frame.with_columns(pl.col(_NUMBER).alias(column)).drop(_NUMBER)
    if c.REVIEW in frame.columns:
        frame = frame.with_columns(pl.when(~is_blank(c.REVIEW)).then(pl.col(c.REVIEW)))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in INTERACTION_TYPES.items() if name in frame.columns)


def type_items(rows: list[tuple[int, dict[str, str]]], path: Path, counter: RowCounter) -> pl.DataFrame:
    """Return ROW, item_id and all text columns, blank if an item lacks one. rows: (line number, values)."""
    texts = {name: [row.get(name, "") for _, row in rows] for name in (c.ITEM_ID, *c.TEXT)}
    schema = {ROW: pl.UInt32, **dict.fromkeys(texts, pl.String)}
    frame = pl.DataFrame({ROW: [number for number, _ in rows], **texts}, schema=schema)
    return counter.drop(frame, is_blank(c.ITEM_ID), path.name, "without an id", f"line {{{ROW}}}")


def _as_float(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)


_TIME = pl.col(c.TIMESTAMP).str.strip_chars().str
_DATE = pl.coalesce(_TIME.to_datetime(pattern, strict=False) for pattern in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d"))
_CLOCKS: dict[Clock, tuple[str, pl.Expr]] = {
    "seconds": ("a number", _as_float(c.TIMESTAMP).floor()),
    "milliseconds": ("a number", (_as_float(c.TIMESTAMP) / 1000).floor()),
    "date": ("a date", _DATE.dt.epoch("s")),
}
