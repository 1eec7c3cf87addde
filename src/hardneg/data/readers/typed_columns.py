"""From columns of text to typed ones: a missing id, or text where a number belongs, costs the row and is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW
from hardneg.data.readers.table import LARGEST
from hardneg.data.row_report import RowCounter, RowIssue

Clock = Literal["seconds", "milliseconds", "date"]
"""What a source's timestamps are; dates are `2018-01-31 12:00:00` or `2018-01-31`, in UTC."""
LEFT_OUT = "they were left out"
_NUMBER = "_number"


def interactions(
    frame: pl.DataFrame, path: Path, tally: RowCounter, clock: Clock = "seconds", *, called: str = "an id"
) -> pl.DataFrame:
    """Typed columns user_id, item_id and, as far as `frame` has them, rating, timestamp (seconds), review, split.

    frame: ROW (line numbers) and these columns as text. A blank rating, timestamp or review is unknown (null).
    called: what the file calls the ids, for the entry of a row that lacks one.
    """
    frame = with_ids(frame, (c.USER_ID, c.ITEM_ID), path, tally, called=called)
    for column, (kind, number) in ((c.RATING, ("a number", _float(c.RATING))), (c.TIMESTAMP, _CLOCKS[clock])):
        if column in frame.columns:
            frame = _number(
                frame, column, number, RowIssue(path.name, f"without {kind} as {column}", 0, "", LEFT_OUT), tally
            )
    if c.REVIEW in frame.columns:
        frame = frame.with_columns(pl.when(~_blank(c.REVIEW)).then(pl.col(c.REVIEW)))
    return frame.select(pl.col(name).cast(dtype) for name, dtype in INTERACTION_TYPES.items() if name in frame.columns)


def items(numbers: list[int], rows: list[dict[str, str]], path: Path, tally: RowCounter) -> pl.DataFrame:
    """ROW, item_id and the text columns that an item may have, blank where it has none."""
    texts = {name: [row.get(name, "") for row in rows] for name in (c.ITEM_ID, *c.TEXT)}
    frame = pl.DataFrame({ROW: numbers, **texts}, schema={ROW: pl.UInt32, **dict.fromkeys(texts, pl.String)})
    return with_ids(frame, (c.ITEM_ID,), path, tally)


def with_ids(
    frame: pl.DataFrame, ids: tuple[str, ...], path: Path, tally: RowCounter, *, called: str = "an id"
) -> pl.DataFrame:
    """The rows whose ids are there; `frame` carries line numbers."""
    missing = pl.any_horizontal(_blank(name) for name in ids)
    bad = frame.filter(missing)
    if bad.is_empty():
        return frame
    tally.add(RowIssue(path.name, f"without {called}", len(bad), f"line {bad[ROW][0]}", LEFT_OUT))
    return frame.filter(~missing)


def _number(frame: pl.DataFrame, column: str, number: pl.Expr, entry: RowIssue, tally: RowCounter) -> pl.DataFrame:
    frame = frame.with_columns(number.alias(_NUMBER))
    wrong = ~_blank(column) & ~(pl.col(_NUMBER).abs() < LARGEST).fill_null(value=False)
    bad = frame.filter(wrong)
    if not bad.is_empty():
        line, text = bad.select(ROW, column).row(0)
        tally.add(replace(entry, count=len(bad), first=f"line {line}, {column} {text!r}"))
        frame = frame.filter(~wrong)
    return frame.with_columns(pl.col(_NUMBER).alias(column)).drop(_NUMBER)


def _blank(column: str) -> pl.Expr:
    return pl.col(column).fill_null("").str.strip_chars() == ""


def _float(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().cast(pl.Float64, strict=False)


def _date() -> pl.Expr:
    text = pl.col(c.TIMESTAMP).str.strip_chars()
    moment = text.str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
    day = text.str.to_datetime("%Y-%m-%d", strict=False)
    return pl.coalesce(moment, day).dt.epoch("s")


_CLOCKS: dict[Clock, tuple[str, pl.Expr]] = {
    "seconds": ("a number", _float(c.TIMESTAMP).floor()),
    "milliseconds": ("a number", (_float(c.TIMESTAMP) / 1000).floor()),
    "date": ("a date", _date()),
}
