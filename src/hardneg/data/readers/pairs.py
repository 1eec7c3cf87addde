"""Lines `user item`, one file per part of a given split (DTL-NS). Items may be numbered after the users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, empty_items
from hardneg.data.readers.integer_lines import parse_integers, read_lines
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError


def read_pairs(files: Mapping[str, Path], *, item_offset: int = 0) -> Dataset:
    """Read `user item` lines.

    files: train, valid or test -> file. item_offset: number to subtract from an item's number; lower items are left out.
    """
    parts: list[pl.DataFrame] = []
    row_report: RowReport = ()
    for part, path in files.items():
        frame, issues = _read_part(path, item_offset)
        parts.append(frame.with_columns(pl.lit(part).alias(c.SPLIT)))
        row_report += issues
    return Dataset(pl.concat(parts), empty_items(), row_report)


def _read_part(path: Path, item_offset: int) -> tuple[pl.DataFrame, RowReport]:
    lines = read_lines(path)
    bad = lines.filter(pl.col("words").list.len() != 2)
    row_report: RowReport = ()
    if not bad.is_empty():
        line, words = bad.row(0)
        first = f"line {line}: {' '.join(words)[:60]!r}"
        row_report += (RowIssue(path.name, "without exactly two numbers", len(bad), first, "they were left out"),)
        lines = lines.filter(pl.col("words").list.len() == 2)
        if lines.is_empty():
            raise DataError(f"{path} holds no line of two numbers (first: {first}); is it a lightgcn file?")
    pairs = lines.select(
        "line", pl.col("words").list.get(0).alias(c.USER_ID), pl.col("words").list.get(1).alias(c.ITEM_ID)
    )
    frame, issues = parse_integers(pairs, (c.USER_ID, c.ITEM_ID), path)
    row_report += issues
    below = frame.filter(pl.col(c.ITEM_ID) < item_offset)
    if not below.is_empty():
        line, _, item = below.row(0)
        remedy = "they were left out; check --item-offset"
        row_report += (
            RowIssue(path.name, f"with an item below {item_offset}", len(below), f"line {line}: {item}", remedy),
        )
    frame = frame.filter(pl.col(c.ITEM_ID) >= item_offset)
    if frame.is_empty():
        raise DataError(f"{path}: every item is below the item offset {item_offset}; check --item-offset")
    return frame.select(
        pl.col(c.USER_ID).cast(pl.String), (pl.col(c.ITEM_ID) - item_offset).cast(pl.String)
    ), row_report
