"""RecBole's atomic files (Zhao et al., 2021): tab-separated, with a header of `name:type`.

`.inter` files have the interactions, `.item` files the item features. A given split has one file per part
(`name.train.inter`, ...). A `token_seq` is read as plain text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers import line_blocks, typed_columns
from hardneg.data.readers.table import is_blank, map_columns
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError
from hardneg.types import Progress

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
) -> StreamedDataset:
    """Open interactions and, optionally, items; plain or gzip.

    files: train, valid or test -> `.inter` file; with a single file there is no split column. columns, item_columns:
    our name -> theirs, for unusual names. Other columns of items are kept.
    """
    read = partial(_read_interactions, dict(files), dict(columns or {}))
    return StreamedDataset(read, partial(_read_items, items, dict(item_columns or {})) if items else None, items)


def _read_interactions(
    files: Mapping[str, Path], columns: Mapping[str, str], counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        fields = _read_field_names(path)
        mapping = map_columns(fields, columns, INTERACTION_NAMES, (c.USER_ID, c.ITEM_ID), path, "--column")
        split = [pl.lit(part).alias(c.SPLIT)] if len(files) > 1 else []
        for frame in line_blocks.delimited_columns(path, fields, "\t", counter, progress, header=True):
            named = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in mapping.items()), *split)
            yield typed_columns.type_interactions(named, path, counter)


def _read_items(
    path: Path, columns: Mapping[str, str], counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    fields = _read_field_names(path)
    mapping = map_columns(fields, columns, ITEM_NAMES, (c.ITEM_ID,), path, "--item-column")
    others = [name for name in fields if name not in mapping.values() and name not in mapping]
    for frame in line_blocks.delimited_columns(path, fields, "\t", counter, progress, header=True):
        named = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in mapping.items()), *others)
        yield counter.drop(named, is_blank(c.ITEM_ID), path.name, "without an id", f"line {{{ROW}}}")


def _read_field_names(path: Path) -> tuple[str, ...]:
    """Return the names of the fields, without types."""
    header = line_blocks.read_header_line(path)
    fields = [field.rpartition(":") for field in header.split("\t")]
    malformed = [name + colon + kind for name, colon, kind in fields if not name or kind not in TYPES]
    if malformed:
        raise DataError(
            f"{path} has {malformed[0][:60]!r} in its header, expected name:type with a type of {', '.join(TYPES)}, "
            "between tabs; is it an atomic file?"
        )
    names = tuple(name for name, _, _ in fields)
    if repeated := [name for name in names if names.count(name) > 1 or name == ROW]:
        raise DataError(
            f"{path} has the field {repeated[0]!r} twice in its header, expected distinct names; rename one"
        )
    return names
