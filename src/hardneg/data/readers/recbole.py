"""RecBole's atomic files (Zhao et al., 2021): tab-separated, with a header of `name:type`.

`.inter` has the interactions, `.item` what is known of items. A split that was made beforehand lies in files of its own
(`name.train.inter`, ...). A `token_seq` is text between spaces, which may part words or tokens; it stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.readers import delimited, typed_columns
from hardneg.data.readers.streaming import StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.errors import ConfigError, DataError
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
"""Ours -> theirs in the published sets, the first that is there."""


def open_recbole(
    files: Mapping[str, Path],
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
) -> StreamedDataset:
    """Interactions and, where given, items; plain or gzip.

    files: train, valid or test -> `.inter` file; a single file is not a part, so that no split column is made.
    columns, item_columns: our name -> theirs, where the usual ones do not fit. Other columns of items are kept.
    """
    read = partial(_interactions, dict(files), dict(columns or {}))
    return StreamedDataset(read, partial(_items, items, dict(item_columns or {})) if items else None, items)


def _interactions(
    files: Mapping[str, Path], columns: Mapping[str, str], tally: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        fields = _header(path)
        ours = _mapped(fields, columns, INTERACTION_NAMES, (c.USER_ID, c.ITEM_ID), path, "--column")
        label = [pl.lit(part).alias(c.SPLIT)] if len(files) > 1 else []
        for frame in delimited.delimited_columns(path, fields, "\t", tally, progress, header=True):
            named = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in ours.items()), *label)
            yield typed_columns.interactions(named, path, tally)


def _items(
    path: Path, columns: Mapping[str, str], tally: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    fields = _header(path)
    ours = _mapped(fields, columns, ITEM_NAMES, (c.ITEM_ID,), path, "--item-column")
    others = [name for name in fields if name not in ours.values() and name not in ours]
    for frame in delimited.delimited_columns(path, fields, "\t", tally, progress, header=True):
        named = frame.select(ROW, *(pl.col(theirs).alias(name) for name, theirs in ours.items()), *others)
        yield typed_columns.with_ids(named, (c.ITEM_ID,), path, tally)


def _header(path: Path) -> tuple[str, ...]:
    """Names of the fields, their types apart."""
    header = delimited.first_line(path)
    fields = [field.rpartition(":") for field in header.split("\t")]
    strange = [name + colon + kind for name, colon, kind in fields if not name or kind not in TYPES]
    if strange:
        raise DataError(
            f"{path} has {strange[0][:60]!r} in its header, expected name:type with a type of {', '.join(TYPES)}, "
            "between tabs; is it an atomic file?"
        )
    names = tuple(name for name, _, _ in fields)
    if twice := [name for name in names if names.count(name) > 1 or name == ROW]:
        raise DataError(f"{path} has the field {twice[0]!r} twice in its header, expected each once; rename one")
    return names


def _mapped(
    fields: tuple[str, ...],
    given: Mapping[str, str],
    usual: Mapping[str, tuple[str, ...]],
    required: tuple[str, ...],
    path: Path,
    option: str,
) -> dict[str, str]:
    """Our name -> theirs, for all that is there."""
    if unknown := [name for name in given if name not in usual]:
        raise ConfigError(f"found {option} {unknown[0]}, expected one of {', '.join(usual)}")
    guesses = {ours: next((name for name in names if name in fields), None) for ours, names in usual.items()}
    found = {ours: given.get(ours, guess) for ours, guess in guesses.items()}
    for ours in (*required, *given):
        if found[ours] not in fields:
            raise DataError(
                f"{path} has no field {found[ours] or ours!r} for {ours}, found {', '.join(fields)}; "
                f"map it with {option} {ours}=THEIRS"
            )
    return {ours: theirs for ours, theirs in found.items() if theirs is not None}
