"""Lines `user item`, one file per part of a given split (DTL-NS). Items may be numbered after the users."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, empty_items
from hardneg.data.readers.integer_lines import parse_integers, read_words
from hardneg.data.row_report import LEFT_OUT, RowCounter
from hardneg.errors import DataError


def read_pairs(files: Mapping[str, Path], *, item_offset: int = 0) -> Dataset:
    """Read `user item` lines.

    files: train, valid or test -> file. item_offset: number to subtract from an item's number; lower items are left out.
    """
    parts: list[pl.DataFrame] = []
    counter = RowCounter()
    for part, path in files.items():
        frame = _read_part(path, item_offset, counter)
        parts.append(frame.with_columns(pl.lit(part).alias(c.SPLIT)))
    return Dataset(pl.concat(parts), empty_items(), counter.row_report, counter.files)


def _read_part(path: Path, item_offset: int, counter: RowCounter) -> pl.DataFrame:
    lines = read_words(path, counter)
    words = pl.col("words").list
    lines = lines.with_columns(words.join(" ").str.head(60).alias("text"))
    first = "line {line}: {text!r}"
    lines = counter.drop(lines, words.len() != 2, path.name, "without exactly two numbers", first)
    if lines.is_empty():
        first = counter.row_report[-1].first
        raise DataError(
            f"{path} holds no line of two numbers (first: {first}); is it a file for lightgcn, or for table?"
        )
    pairs = lines.select("line", words.get(0).alias(c.USER_ID), words.get(1).alias(c.ITEM_ID))
    frame = parse_integers(pairs, (c.USER_ID, c.ITEM_ID), path, counter)
    reason, first = f"with an item below {item_offset}", f"line {{line}}: {{{c.ITEM_ID}}}"
    is_below, remedy = pl.col(c.ITEM_ID) < item_offset, f"{LEFT_OUT}; check --item-offset"
    frame = counter.drop(frame, is_below, path.name, reason, first, remedy)
    if frame.is_empty():
        raise DataError(f"{path}: every item is below the item offset {item_offset}; check --item-offset")
    ids = pl.col(c.USER_ID).cast(pl.String), (pl.col(c.ITEM_ID) - item_offset).cast(pl.String)
    return frame.select(*ids)
