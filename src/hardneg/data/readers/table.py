"""Interactions and item texts from CSV, TSV or Parquet files, with columns mapped by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW, Dataset, drop_repeated_items, empty_items, read_parquet
from hardneg.data.file_summary import FileSummary
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.readers.typed_columns import drop_missing_ids, type_interactions
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat, to_numbers
from hardneg.errors import ConfigError, DataError

GUESSES = {c.USER_ID: ("user_id", "user"), c.ITEM_ID: ("item_id", "item")}
"""Column names recognised as ids if none is mapped."""


def read_table(
    interactions: Path,
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    split_values: Mapping[str, str] | None = None,
    time_format: str | None = None,
) -> Dataset:
    """Read a table of interactions and, optionally, one of items.

    interactions, items: `.parquet`, `.csv` or `.tsv`, the latter two also with `.gz`.
    columns: our name -> theirs, for user_id, item_id, rating, timestamp, review, split.
    item_columns: our name -> theirs, for item_id, title, brand, categories, attributes, description.
    split_values: their value of the split column -> train, valid or test. time_format: see `TimeFormat.of`.
    A row with a missing id, or with text instead of a number or a time, is left out and reported.
    """
    counter = RowCounter()
    times = TimeColumn(interactions, counter, TimeFormat.of(time_format) if time_format else None, row="row")
    frame = _read_interactions(interactions, columns or {}, split_values or {}, times, counter)
    texts = empty_items() if items is None else _read_items(items, item_columns or {}, counter)
    return Dataset(frame, texts, counter.row_report, counter.files)


def _read_interactions(
    path: Path, columns: Mapping[str, str], split_values: Mapping[str, str], times: TimeColumn, counter: RowCounter
) -> pl.DataFrame:
    raw = load_table(path)
    mapped = _select_columns(raw, columns, path, tuple(INTERACTION_TYPES), (c.USER_ID, c.ITEM_ID))
    _require_scalars(mapped, path)
    _require_ratings(mapped, path)
    numbered = mapped.with_row_index(ROW, offset=1)
    if c.TIMESTAMP in mapped.columns:
        times.choose([mapped[c.TIMESTAMP]])
    (frame,) = type_interactions([numbered], path, counter, times, row="row")
    if c.SPLIT in frame.columns and split_values:
        frame = frame.with_columns(pl.col(c.SPLIT).replace(dict(split_values)))
    if frame.is_empty():
        reasons = "; ".join(map(str, counter.row_report)) or "it is empty"
        raise DataError(f"{path} holds no usable row; the reasons: {reasons}")
    return frame


def _read_items(path: Path, columns: Mapping[str, str], counter: RowCounter) -> pl.DataFrame:
    raw = load_table(path)
    frame = _select_columns(raw, columns, path, (c.ITEM_ID, *c.TEXT), (c.ITEM_ID,))
    _require_scalars(frame, path, lists=True)
    texts = [_as_text(frame, name) for name in frame.columns if name != c.ITEM_ID]
    frame = drop_missing_ids(frame.with_row_index(ROW, offset=1), path, counter, c.ITEM_ID, row="row")
    frame, repeated = drop_repeated_items(frame.select(ROW, c.ITEM_ID, *texts), path.name)
    counter.add(*repeated)
    return frame


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


def _require_ratings(frame: pl.DataFrame, path: Path) -> None:
    """Raise a DataError if all ratings are text."""
    if c.RATING in frame.columns and to_numbers(frame[c.RATING]).is_null().all() and frame[c.RATING].dtype == pl.String:
        texts = frame[c.RATING].filter(frame[c.RATING].str.strip_chars().fill_null("") != "")
        if len(texts) == len(frame):
            raise DataError(
                f"{path}: column {c.RATING} holds text in every row (first: {texts[0]!r}), expected numbers; "
                "map another column"
            )


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.List):
        column = column.cast(pl.List(pl.String)).list.join(", ")
    return column.cast(pl.String).fill_null("").alias(name)
