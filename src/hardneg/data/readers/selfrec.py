"""Lines `user item rating`, one file per part of a given split (SELFRec, QRec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import line_blocks, typed_columns
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress


def open_selfrec(files: Mapping[str, Path]) -> StreamedDataset:
    """Open triples separated by white space; ids may be any text without it. files: train, valid or test -> file."""
    return StreamedDataset(partial(_read_interactions, dict(files)))


def _read_interactions(
    files: Mapping[str, Path], counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        for frame in line_blocks.delimited_columns(
            path, (c.USER_ID, c.ITEM_ID, c.RATING), line_blocks.WHITESPACE, counter, progress
        ):
            yield typed_columns.type_interactions(frame.with_columns(pl.lit(part).alias(c.SPLIT)), path, counter)
