"""Lines `user item rating`, one file per part of a given split (SELFRec, QRec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import typed_columns
from hardneg.data.readers.delimited import read_columns
from hardneg.data.readers.text_format import WHITESPACE, TextOptions, detect_fields
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

COLUMNS = (c.USER_ID, c.ITEM_ID, c.RATING)
DELIMITERS = (WHITESPACE, ",", ";", "|", "::")
DEFAULT = TextOptions()


def open_selfrec(files: Mapping[str, Path], options: TextOptions = DEFAULT) -> StreamedDataset:
    """Open triples, mostly separated by white space. files: train, valid or test -> file."""
    return StreamedDataset(partial(_read_interactions, dict(files), options))


def _read_interactions(
    files: Mapping[str, Path], options: TextOptions, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        form = detect_fields(path, options, len(COLUMNS), DELIMITERS)
        frames = read_columns(path, COLUMNS, form, counter, progress)
        with_part = (frame.with_columns(pl.lit(part).alias(c.SPLIT)) for frame in frames)
        yield from typed_columns.type_interactions(with_part, path, counter)
