"""Interactions and item texts from CSV, TSV or Parquet files, columns mapped by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW, Dataset, drop_repeated_items, no_items, read_parquet
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import ConfigError, DataError

GUESSES = {c.USER_ID: ("user_id", "user"), c.ITEM_ID: ("item_id", "item")}
"""Names taken for an id column when none is mapped."""
LARGEST = 2.0**53
"""Numbers from here on are no times and no ratings."""


def read_table(
    interactions: Path,
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    split_values: Mapping[str, str] | None = None,
) -> Dataset:
    """Read a table of interactions and, where given, one of items.

    interactions, items: `.parquet`, `.csv` or `.tsv`, the last two also with `.gz`.
    columns: our name -> theirs, for user_id, item_id, rating, timestamp, review, split.
    item_columns: our name -> theirs, for item_id, title, brand, categories, attributes, description.
    split_values: their value of the split column -> train, valid or test.
    A row with a missing id, or with text where a number belongs, is left out, counted and named.
    """
    frame, row_report = _interactions(interactions, columns or {}, split_values or {})
    if items is None:
        return Dataset(frame, no_items(), row_report)
    texts, item_ledger = _items(items, item_columns or {})
    return Dataset(frame, texts, row_report + item_ledger)


def _interactions(
    path: Path, columns: Mapping[str, str], split_values: Mapping[str, str]
) -> tuple[pl.DataFrame, RowReport]:
    raw = load_table(path)
    mapped = _mapped(raw, columns, path, tuple(INTERACTION_TYPES), required=(c.USER_ID, c.ITEM_ID))
    _require_plain(mapped, path)
    frame, row_report = without_missing_ids(mapped.with_row_index(ROW, offset=1), path, (c.USER_ID, c.ITEM_ID))
    for column in (c.RATING, c.TIMESTAMP):
        if column in frame.columns and not frame.is_empty():
            frame, entries = _to_number(frame, column, path)
            row_report += entries
    if c.SPLIT in frame.columns and split_values:
        frame = frame.with_columns(pl.col(c.SPLIT).cast(pl.String).replace(dict(split_values)))
    if frame.is_empty():
        raise DataError(f"{path} holds no usable row; the reasons: {'; '.join(map(str, row_report)) or 'it is empty'}")
    kept = [name for name in INTERACTION_TYPES if name in frame.columns]
    return frame.select(pl.col(name).cast(INTERACTION_TYPES[name]) for name in kept), row_report


def _items(path: Path, columns: Mapping[str, str]) -> tuple[pl.DataFrame, RowReport]:
    raw = load_table(path)
    frame = _mapped(raw, columns, path, (c.ITEM_ID, *c.TEXT), required=(c.ITEM_ID,), keep_others=True)
    _require_plain(frame, path, lists=True)
    names = [name for name in frame.columns if name != c.ITEM_ID]
    frame, row_report = without_missing_ids(frame.with_row_index(ROW, offset=1), path, (c.ITEM_ID,))
    frame = frame.select(ROW, pl.col(c.ITEM_ID).cast(pl.String), *(_as_text(frame, name) for name in names))
    frame, repeated = drop_repeated_items(frame, path.name)
    return frame, row_report + repeated


def load_table(path: Path) -> pl.DataFrame:
    """Read a table as it is; CSV columns stay text, so that a bad number is found with its row."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    name = path.name.removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            frame = read_parquet(path)
        elif name.endswith((".csv", ".tsv")):
            separator = "\t" if name.endswith(".tsv") else ","
            frame = pl.read_csv(path, separator=separator, infer_schema=False, glob=False)
        else:
            raise DataError(f"{path} is none of .parquet, .csv, .tsv (also .gz); convert it")
    except pl.exceptions.NoDataError:
        raise DataError(f"{path} is empty, expected a header and rows; check the export") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if frame.is_empty():
        raise DataError(f"{path} has a header but no rows; check the export")
    return frame


def without_missing_ids(frame: pl.DataFrame, path: Path, ids: tuple[str, ...]) -> tuple[pl.DataFrame, RowReport]:
    """Leave out rows in which an id is null or blank; `frame` carries the row numbers."""
    missing = pl.any_horizontal(pl.col(name).cast(pl.String).fill_null("").str.strip_chars() == "" for name in ids)
    bad = frame.filter(missing)
    if bad.is_empty():
        return frame, ()
    entry = RowIssue(path.name, "without an id", len(bad), f"row {bad[ROW][0]}", "they were left out")
    return frame.filter(~missing), (entry,)


def _mapped(
    raw: pl.DataFrame,
    columns: Mapping[str, str],
    path: Path,
    allowed: tuple[str, ...],
    *,
    required: tuple[str, ...],
    keep_others: bool = False,
) -> pl.DataFrame:
    unknown = [name for name in columns if name not in allowed]
    if unknown:
        raise ConfigError(f"found column name {unknown[0]!r}, expected one of {', '.join(allowed)}")
    found = dict(columns)
    for ours in allowed:
        guess = next((name for name in GUESSES.get(ours, (ours,)) if name in raw.columns), None)
        if ours not in found and guess is not None and guess not in found.values():
            found[ours] = guess
    for ours in dict.fromkeys((*required, *columns)):
        if found.get(ours) not in raw.columns:
            wanted = found.get(ours, ours)
            raise DataError(
                f"{path} has no column {wanted!r} for {ours}, found {', '.join(raw.columns)}; "
                f"map it with {'--item-column' if keep_others else '--column'} {ours}=THEIRS"
            )
    ours_first = [pl.col(found[name]).alias(name) for name in allowed if name in found]
    others = [name for name in raw.columns if keep_others and name not in found.values() and name not in allowed]
    return raw.select(*ours_first, *others)


def _require_plain(frame: pl.DataFrame, path: Path, *, lists: bool = False) -> None:
    """Only text, numbers and dates (and lists of them, where `lists`) have a spelling."""
    for name, dtype in frame.schema.items():
        inner = dtype.inner if lists and isinstance(dtype, pl.List) else dtype
        if inner.is_nested() or inner in (pl.Binary, pl.Object, pl.Duration):
            raise DataError(
                f"{path}: column {name} holds {dtype}, expected text or numbers; convert it or leave it out"
            )


def _to_number(frame: pl.DataFrame, column: str, path: Path) -> tuple[pl.DataFrame, RowReport]:
    """Cast to numbers (times to seconds since 1970); a row with text there is left out, a blank stays unknown."""
    values = frame[column]
    if isinstance(values.dtype, (pl.Date, pl.Datetime)):
        return frame.with_columns(values.cast(pl.Datetime("ms")).dt.epoch("s").alias(column)), ()
    blank = values.cast(pl.String).fill_null("").str.strip_chars() == ""
    numbers = values.cast(pl.Float64, strict=False)
    if column == c.TIMESTAMP and numbers.is_null().sum() > blank.sum() and values.dtype == pl.String:
        times = values.str.to_datetime(strict=False, time_unit="ms", exact=True, time_zone="UTC").dt.epoch("s")
        numbers = numbers.fill_null(times.cast(pl.Float64))
    bad = numbers.is_null() & ~blank | ~(numbers.fill_null(0).abs() < LARGEST)
    if bad.all():
        raise DataError(
            f"{path}: column {column} holds text in every row (first: {values[0]!r}), expected numbers; "
            "map another column"
        )
    row_report: RowReport = ()
    if bad.any():
        row = int(bad.arg_true()[0])
        first = f"row {frame[ROW][row]}, {column} {values[row]!r}"
        row_report = (
            RowIssue(path.name, f"without a number as {column}", int(bad.sum()), first, "they were left out"),
        )
    return frame.with_columns(numbers.alias(column)).filter(~bad), row_report


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.List):
        column = column.cast(pl.List(pl.String)).list.join(", ")
    return column.cast(pl.String).fill_null("").alias(name)
