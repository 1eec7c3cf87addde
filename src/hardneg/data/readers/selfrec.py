"""`user item rating` lines, given parts in files of their own (SELFRec, QRec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.readers import delimited, typed_columns
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress


def open_selfrec(files: Mapping[str, Path]) -> StreamedDataset:
    """Triples between white space; ids may be any text without it.

    files: train, valid or test -> file.
    """
    return StreamedDataset(partial(_interactions, dict(files)))


def _interactions(files: Mapping[str, Path], tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        for frame in delimited.delimited_columns(
            path, (c.USER_ID, c.ITEM_ID, c.RATING), delimited.SPACES, tally, progress
        ):
            yield typed_columns.interactions(frame.with_columns(pl.lit(part).alias(c.SPLIT)), path, tally)
