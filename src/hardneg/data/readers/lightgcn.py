"""Lines `user item item ...`, one file per part of a given split (LightGCN, NGCF, AHNS)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, empty_items
from hardneg.data.readers.integer_lines import parse_integers, read_words
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError


def read_lightgcn(files: Mapping[str, Path]) -> Dataset:
    """Read adjacency lists; a user may have no items. files: train, valid or test -> file."""
    parts: list[pl.DataFrame] = []
    counter = RowCounter()
    for part, path in files.items():
        # Only these columns: with a second list column, exploding is a hundred times slower.
        words = pl.col("words").list
        lines = read_words(path, counter).select("line", words.get(0).alias(c.USER_ID), words.slice(1).alias(c.ITEM_ID))
        items = lines.explode(c.ITEM_ID).drop_nulls(c.ITEM_ID)
        if items.is_empty():
            raise DataError(f"{path} holds users but no items, expected lines `user item item ...`; check the file")
        frame = parse_integers(items, (c.USER_ID, c.ITEM_ID), path, counter)
        parts.append(frame.select(pl.col(c.USER_ID, c.ITEM_ID).cast(pl.String), pl.lit(part).alias(c.SPLIT)))
    return Dataset(pl.concat(parts), empty_items(), counter.row_report, counter.files)
