"""Interactions and item texts from CSV, TSV or Parquet files, with columns mapped by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW, Dataset, drop_repeated_items, empty_items, read_parquet
from hardneg.data.file_summary import FileSummary
from hardneg.data.row_report import RowReport, drop_rows, report_rows
from hardneg.errors import ConfigError, DataError

GUESSES = {c.USER_ID: ("user_id", "user"), c.ITEM_ID: ("item_id", "item")}
"""Column names recognised as ids if none is mapped."""
MAX_NUMBER = 2.0**53
"""Upper bound of valid timestamps and ratings."""


def read_table(
    interactions: Path,
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    split_values: Mapping[str, str] | None = None,
) -> Dataset:
    """Read a table of interactions and, optionally, one of items.

    interactions, items: `.parquet`, `.csv` or `.tsv`, the latter two also with `.gz`.
    columns: our name -> theirs, for user_id, item_id, rating, timestamp, review, split.
    item_columns: our name -> theirs, for item_id, title, brand, categories, attributes, description.
    split_values: their value of the split column -> train, valid or test.
    A row with a missing id, or with text instead of a number, is left out and reported.
    """
    frame, row_report = _read_interactions(interactions, columns or {}, split_values or {})
    if items is None:
        return Dataset(frame, empty_items(), row_report)
    texts, item_issues = _read_items(items, item_columns or {})
    return Dataset(frame, texts, row_report + item_issues)


def _read_interactions(
    path: Path, columns: Mapping[str, str], split_values: Mapping[str, str]
) -> tuple[pl.DataFrame, RowReport]:
    raw = load_table(path)
    mapped = _select_columns(raw, columns, path, tuple(INTERACTION_TYPES), (c.USER_ID, c.ITEM_ID))
    _require_scalars(mapped, path)
    frame, row_report = _drop_missing_ids(mapped, path, c.USER_ID, c.ITEM_ID)
    for column in (c.RATING, c.TIMESTAMP):
        if column in frame.columns and not frame.is_empty():
            frame, issues = _to_number(frame, column, path)
            row_report += issues
    if c.SPLIT in frame.columns and split_values:
        frame = frame.with_columns(pl.col(c.SPLIT).cast(pl.String).replace(dict(split_values)))
    if frame.is_empty():
        raise DataError(f"{path} holds no usable row; the reasons: {'; '.join(map(str, row_report)) or 'it is empty'}")
    kept = [name for name in INTERACTION_TYPES if name in frame.columns]
    return frame.select(pl.col(name).cast(INTERACTION_TYPES[name]) for name in kept), row_report


def _read_items(path: Path, columns: Mapping[str, str]) -> tuple[pl.DataFrame, RowReport]:
    raw = load_table(path)
    frame = _select_columns(raw, columns, path, (c.ITEM_ID, *c.TEXT), (c.ITEM_ID,))
    _require_scalars(frame, path, lists=True)
    names = [name for name in frame.columns if name != c.ITEM_ID]
    frame, row_report = _drop_missing_ids(frame, path, c.ITEM_ID)
    frame = frame.select(ROW, pl.col(c.ITEM_ID).cast(pl.String), *(_as_text(frame, name) for name in names))
    frame, repeated = drop_repeated_items(frame, path.name)
    return frame, row_report + repeated


def load_table(path: Path) -> pl.DataFrame:
    """Read a table unchanged; CSV columns are strings, so that a bad number can be reported with its row."""
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
            raise DataError(f"{path} is not a .parquet, .csv or .tsv file (also .gz); convert it")
    except pl.exceptions.NoDataError:
        raise DataError(f"{path} is empty, expected a header and rows; check the export") from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if frame.is_empty():
        raise DataError(f"{path} has a header but no rows; check the export")
    return frame


def is_blank(*columns: str) -> pl.Expr:
    """Return an expression that is true where any column is null or blank, never null."""
    return pl.any_horizontal(pl.col(columns).cast(pl.String).fill_null("").str.strip_chars() == "")


def _drop_missing_ids(frame: pl.DataFrame, path: Path, *ids: str) -> tuple[pl.DataFrame, RowReport]:
    return drop_rows(frame.with_row_index(ROW, offset=1), is_blank(*ids), path.name, "without an id", f"row {{{ROW}}}")


def _select_columns(
    raw: pl.DataFrame, columns: Mapping[str, str], path: Path, allowed: tuple[str, ...], required: tuple[str, ...]
) -> pl.DataFrame:
    """Return the mapped columns under our names and, of items, also the others."""
    are_items = c.USER_ID not in allowed
    # A column that is mapped to one name is not guessed for another.
    usual = {ours: [name for name in GUESSES.get(ours, (ours,)) if name not in columns.values()] for ours in allowed}
    option = "--item-column" if are_items else "--column"
    mapping = map_columns(raw.columns, columns, usual, required, path, option)
    others = [name for name in raw.columns if are_items and name not in mapping.values() and name not in allowed]
    return raw.select(*(pl.col(theirs).alias(ours) for ours, theirs in mapping.items()), *others)


def map_columns(
    names: Sequence[str],
    chosen: Mapping[str, str],
    usual: Mapping[str, Sequence[str]],
    required: tuple[str, ...],
    path: Path,
    option: str,
) -> dict[str, str]:
    """Return our name -> theirs, for all columns in a file.

    names: those in the file. chosen: our name -> theirs. usual: our name -> theirs by priority, for names not chosen.
    option: that of the command line with the chosen names.
    """
    if unknown := [name for name in chosen if name not in usual]:
        raise ConfigError(f"found {option} {unknown[0]}, expected one of {', '.join(usual)}")
    guesses = {ours: next((name for name in theirs if name in names), None) for ours, theirs in usual.items()}
    mapping = {ours: chosen.get(ours, guess) for ours, guess in guesses.items()}
    for ours in (*required, *chosen):
        if mapping[ours] not in names:
            raise DataError(
                f"{path} has no column {mapping[ours] or ours!r} for {ours}, found {', '.join(names)}; "
                f"map it with {option} {ours}=THEIRS"
            )
    return {ours: theirs for ours, theirs in mapping.items() if theirs is not None}


def note_columns(
    summary: FileSummary, names: Sequence[str], mapping: Mapping[str, str], others: Sequence[str] = ()
) -> None:
    """Note the columns used, our name -> theirs, and the unused ones. others: used under their own names."""
    summary.columns = {**mapping, **{name: name for name in others}}
    summary.unused = [name or "(without a name)" for name in names if name not in summary.columns.values()]


def _require_scalars(frame: pl.DataFrame, path: Path, *, lists: bool = False) -> None:
    """Raise a DataError for a column that is not text, numbers or dates (or, with `lists`, lists of them)."""
    for name, dtype in frame.schema.items():
        inner = dtype.inner if lists and isinstance(dtype, pl.List) else dtype
        if inner.is_nested() or inner in (pl.Binary, pl.Object, pl.Duration):
            raise DataError(f"{path}: column {name} holds {dtype}, expected text or numbers; convert or remove it")


def _to_number(frame: pl.DataFrame, column: str, path: Path) -> tuple[pl.DataFrame, RowReport]:
    """Cast to numbers (dates to seconds since 1970). A row with text is left out, a blank becomes null."""
    values = frame[column]
    if isinstance(values.dtype, (pl.Date, pl.Datetime)):
        return frame.with_columns(values.cast(pl.Datetime("ms")).dt.epoch("s").alias(column)), ()
    blank = values.cast(pl.String).fill_null("").str.strip_chars() == ""
    numbers = values.cast(pl.Float64, strict=False)
    if column == c.TIMESTAMP and numbers.is_null().sum() > blank.sum() and values.dtype == pl.String:
        times = values.str.to_datetime(strict=False, time_unit="ms", exact=True, time_zone="UTC").dt.epoch("s")
        numbers = numbers.fill_null(times.cast(pl.Float64))
    bad = numbers.is_null() & ~blank | ~(numbers.fill_null(0).abs() < MAX_NUMBER)
    if bad.all():
        raise DataError(
            f"{path}: column {column} holds text in every row (first: {values[0]!r}), expected numbers; "
            "map another column"
        )
    reason, first = f"without a number as {column}", f"row {{{ROW}}}, {column} {{{column}!r}}"
    issues = report_rows(frame.filter(bad), path.name, reason, first)
    return frame.with_columns(numbers.alias(column)).filter(~bad), issues


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.List):
        column = column.cast(pl.List(pl.String)).list.join(", ")
    return column.cast(pl.String).fill_null("").alias(name)
