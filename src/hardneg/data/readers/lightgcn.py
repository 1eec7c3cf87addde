"""One user a line, `user item item ...`, given parts in files of their own (LightGCN, NGCF, AHNS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, no_items
from hardneg.data.readers.integer_lines import read_lines, whole_numbers
from hardneg.data.row_report import RowReport
from hardneg.errors import DataError


def read_lightgcn(files: Mapping[str, Path]) -> Dataset:
    """Read adjacency lists; a user may have no items.

    files: train, valid or test -> file.
    """
    parts: list[pl.DataFrame] = []
    row_report: RowReport = ()
    for part, path in files.items():
        # Only these columns: exploding a list beside another list column takes a hundred times as long.
        words = pl.col("words").list
        lines = read_lines(path).select("line", words.get(0).alias(c.USER_ID), words.slice(1).alias(c.ITEM_ID))
        items = lines.explode(c.ITEM_ID)
        items = items.drop_nulls(c.ITEM_ID)
        if items.is_empty():
            raise DataError(f"{path} holds users but no items, expected lines `user item item ...`; check the file")
        frame, entries = whole_numbers(items, (c.USER_ID, c.ITEM_ID), path)
        parts.append(frame.select(pl.col(c.USER_ID, c.ITEM_ID).cast(pl.String), pl.lit(part).alias(c.SPLIT)))
        row_report += entries
    return Dataset(pl.concat(parts), no_items(), row_report)
