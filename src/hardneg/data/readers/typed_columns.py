"""Ids, ratings and times of all readers: columns of any type become those of a dataset, and bad rows are reported."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW
from hardneg.data.ids import is_blank, is_missing, spell_ids
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.row_report import LEFT_OUT, RowCounter, report_rows
from hardneg.data.times import to_numbers

MAX_NUMBER = 2.0**53
"""Upper bound of valid ratings."""


def type_interactions(
    frames: Iterable[pl.DataFrame],
    path: Path,
    counter: RowCounter,
    times: TimeColumn | None = None,
    *,
    id_names: str = "an id",
    row: str = "line",
) -> Iterator[pl.DataFrame]:
    """Yield typed columns user_id, item_id and, if present, rating, timestamp (seconds), review and split.

    frames: ROW (line numbers) and these columns, of any type. A row with a missing id, or an unreadable rating or time,
    is left out; a blank rating, timestamp or review becomes null. id_names: names of the ids in the file. row: word for
    a row.
    """
    times = times or TimeColumn(path, counter)
    for block in frames:
        frame = drop_missing_ids(block, path, counter, c.USER_ID, c.ITEM_ID, names=id_names, row=row)
        if c.RATING in frame.columns:
            frame = _read_ratings(frame, path, counter, row)
        if c.TIMESTAMP in frame.columns:
            frame = times.read(frame)
        if c.REVIEW in frame.columns:
            frame = frame.with_columns(pl.when(~is_blank(c.REVIEW)).then(pl.col(c.REVIEW)))
        kept = {name: dtype for name, dtype in INTERACTION_TYPES.items() if name in frame.columns}
        yield frame.select(pl.col(name).cast(dtype) for name, dtype in kept.items())
    times.finish()


def drop_missing_ids(
    frame: pl.DataFrame, path: Path, counter: RowCounter, *ids: str, names: str = "an id", row: str = "line"
) -> pl.DataFrame:
    """Return the rows that have all ids, as strings. frame: with ROW. names: those of the ids in the file."""
    frame = frame.with_columns(spell_ids(name, frame.schema[name]) for name in ids)
    first = f"{row} {{{ROW}}}"
    frame = counter.drop(frame, is_blank(*ids), path.name, f"without {names}", first)
    first += "".join(f", {name} {{{name}!r}}" for name in ids)
    return counter.drop(frame, is_missing(*ids), path.name, "with an id that is spelled as a missing value", first)


def _read_ratings(frame: pl.DataFrame, path: Path, counter: RowCounter, row: str) -> pl.DataFrame:
    """Return the rows with a number or no rating."""
    values = frame[c.RATING]
    numbers = to_numbers(values)
    blank = values.cast(pl.String).str.strip_chars().fill_null("") == ""
    wrong = ~blank & ~(numbers.abs() < MAX_NUMBER).fill_null(value=False)
    if values.dtype.is_float():
        wrong &= ~values.is_nan().fill_null(value=False)
    frame = frame.with_columns(numbers.alias(c.RATING))
    if not wrong.any():
        return frame
    bad = frame.filter(wrong).with_columns(values.filter(wrong))
    first = f"{row} {{{ROW}}}, {c.RATING} {{{c.RATING}!r}}"
    comma = bad[c.RATING].cast(pl.String).str.contains(r"^\s*[0-9]+,[0-9]+\s*$")
    for rows, remedy in (
        (bad.filter(~comma), LEFT_OUT),
        (bad.filter(comma), f"{LEFT_OUT}; write a point for the comma"),
    ):
        counter.add(*report_rows(rows, path.name, f"without a number as {c.RATING}", first, remedy))
    return frame.filter(~wrong)


def type_items(rows: list[tuple[int, dict[str, str]]], path: Path, counter: RowCounter) -> pl.DataFrame:
    """Return ROW, item_id and all text columns, blank if an item lacks one. rows: (line number, values)."""
    texts = {name: [row.get(name, "") for _, row in rows] for name in (c.ITEM_ID, *c.TEXT)}
    schema = {ROW: pl.UInt32, **dict.fromkeys(texts, pl.String)}
    frame = pl.DataFrame({ROW: [number for number, _ in rows], **texts}, schema=schema)
    return drop_missing_ids(frame, path, counter, c.ITEM_ID)
