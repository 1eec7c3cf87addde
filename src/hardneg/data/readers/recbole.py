"""RecBole's atomic files (Zhao et al., 2021): tab-separated, with a header of `name:type`.

`.inter` files have the interactions, `.item` files the item features. A given split has one file per part
(`name.train.inter`, ...). A `token_seq` is read as plain text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import typed_columns
from hardneg.data.readers.column_names import map_columns, note_columns
from hardneg.data.readers.delimited import read_columns
from hardneg.data.readers.text_format import DELIMITERS, NAMES, TextFormat, TextOptions, detect_header, require_names
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat
from hardneg.errors import DataError
from hardneg.types import Progress

DEFAULT = TextOptions()
TYPES = ("token", "token_seq", "float", "float_seq")
INTERACTION_NAMES = {
    c.USER_ID: ("user_id",),
    c.ITEM_ID: ("item_id", "business_id"),
    c.RATING: ("rating", "stars"),
    c.TIMESTAMP: ("timestamp", "date"),
    c.REVIEW: ("review", "review_text"),
}
ITEM_NAMES = {
    c.ITEM_ID: ("item_id", "business_id"),
    c.TITLE: ("title", "movie_title", "item_name", "name"),
    "brand": ("brand",),
    "categories": ("categories", "category", "class", "genre", "genres"),
    "attributes": ("attributes",),
    "description": ("description",),
}
"""Our name -> names in published datasets, by priority."""


def open_recbole(
    files: Mapping[str, Path],
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    options: TextOptions = DEFAULT,
    time_format: str | None = None,
) -> StreamedDataset:
    """Open interactions and, optionally, items; plain or gzip.

    files: train, valid or test -> `.inter` file; with a single file there is no split column. columns, item_columns:
    our name -> theirs, for unusual names. Other columns of items are kept. time_format: see `TimeFormat.of`.
    """
    times = TimeFormat.of(time_format) if time_format else None
    read = partial(_read_interactions, dict(files), dict(columns or {}), options, times)
    read_items = partial(_read_items, items, dict(item_columns or {}), options) if items else None
    return StreamedDataset(read, read_items, items)


def _read_interactions(
    files: Mapping[str, Path],
    columns: Mapping[str, str],
    options: TextOptions,
    time_format: TimeFormat | None,
    counter: RowCounter,
    progress: Progress | None,
) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        form, fields = _detect_fields(path, options)
        mapping = map_columns(fields, columns, INTERACTION_NAMES, (c.USER_ID, c.ITEM_ID), path, "--column")
        split = [pl.lit(part).alias(c.SPLIT)] if len(files) > 1 else []
        note_columns(counter.file(path.name), fields, mapping)
        named = [ROW, *(pl.col(theirs).alias(name) for name, theirs in mapping.items()), *split]
        read = partial(read_columns, path, fields, form, header=True)
        times = TimeColumn(path, counter, time_format)
        if c.TIMESTAMP in mapping:
            times.choose(frame[mapping[c.TIMESTAMP]] for frame in read(RowCounter()))
        else:
            times.refuse_format()
        frames = (frame.select(named) for frame in read(counter, progress))
        yield from typed_columns.type_interactions(frames, path, counter, times)


def _read_items(
    path: Path, columns: Mapping[str, str], options: TextOptions, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    form, fields = _detect_fields(path, options)
    mapping = map_columns(fields, columns, ITEM_NAMES, (c.ITEM_ID,), path, "--item-column")
    others = [name for name in fields if name not in mapping.values() and name not in mapping]
    note_columns(counter.file(path.name), fields, mapping, others)
    for frame in read_columns(path, fields, form, counter, progress, header=True):
        named = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in mapping.items()), *others)
        yield typed_columns.drop_missing_ids(named, path, counter, c.ITEM_ID)


def _detect_fields(path: Path, options: TextOptions) -> tuple[TextFormat, list[str]]:
    """Return the format, and the names of the fields without their types."""
    form, header = detect_header(path, options, _is_typed, ("\t", *(other for other in DELIMITERS if other != "\t")))
    fields = [field.rpartition(":") for field in header]
    malformed = [name + colon + kind for name, colon, kind in fields if not name or kind not in TYPES]
    if malformed:
        raise DataError(
            f"{path} has {malformed[0][:60]!r} in its header, expected name:type with a type of {', '.join(TYPES)}, "
            f"between {NAMES.get(form.delimiter, form.delimiter)}s; is it an atomic file?"
        )
    names = [name for name, _, _ in fields]
    require_names(names, path)
    return form, names


def _is_typed(header: Sequence[str]) -> bool:
    return all(re.fullmatch(rf"[^\t,;|:]+:({'|'.join(TYPES)})", field) for field in header)
