"""Interactions and item texts from tables, delimited text or Parquet, with columns mapped by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ParamSpec

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import INTERACTION_TYPES, ROW, Dataset, read_parquet
from hardneg.data.importing import StreamedDataset, read_into_memory
from hardneg.data.readers.column_names import ColumnChoice, note_columns
from hardneg.data.readers.delimited import read_columns
from hardneg.data.readers.line_blocks import show
from hardneg.data.readers.text_format import TextOptions, detect_header, require_names, sample_lines
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.readers.typed_columns import drop_missing_ids, type_interactions
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat
from hardneg.errors import DataError
from hardneg.types import Progress

PARQUET = b"PAR1"
DEFAULT = TextOptions()
P = ParamSpec("P")


@dataclass(frozen=True)
class TableFile:
    """A table whose columns are known and whose rows are not read yet.

    names: of all columns. read: yields frames with ROW and all columns. row: word for a row, whose number is ROW.
    """

    names: Sequence[str]
    read: Callable[[RowCounter, Progress | None], Iterator[pl.DataFrame]]
    row: str


def open_table(
    interactions: Path,
    items: Path | None = None,
    *,
    columns: Mapping[str, str] | None = None,
    item_columns: Mapping[str, str] | None = None,
    split_values: Mapping[str, str] | None = None,
    time_format: str | None = None,
    options: TextOptions = DEFAULT,
) -> StreamedDataset:
    """Open a table of interactions and, optionally, one of items.

    interactions, items: Parquet, or delimited text, plain or gzip; recognised by content.
    columns: our name -> theirs, for user_id, item_id, rating, timestamp, review, split; numbers of columns for a text
    without column names. item_columns: the same for item_id, title, brand, categories, attributes, description.
    split_values: their value of the split column -> train, valid or test. time_format: see `TimeFormat.of`.
    options: of delimited text. A row with a missing id, or with text instead of a number or a time, is left out and
    reported.
    """
    choice = ColumnChoice(columns or {}, tuple(INTERACTION_TYPES), (c.USER_ID, c.ITEM_ID), "--column")
    item_choice = ColumnChoice(item_columns or {}, (c.ITEM_ID, *c.TEXT), (c.ITEM_ID,), "--item-column")
    times = TimeFormat.of(time_format) if time_format else None
    read = partial(_read_interactions, interactions, choice, options, dict(split_values or {}), times)
    read_items = partial(_read_items, items, item_choice, options) if items else None
    row = "row" if items is not None and _is_parquet(items) else "line"
    return StreamedDataset(read, read_items, items, row, all_items=True)


def _in_memory(open_files: Callable[P, StreamedDataset]) -> Callable[P, Dataset]:
    """Return a function that reads into memory what `open_files` opens."""

    def read(*paths: P.args, **options: P.kwargs) -> Dataset:
        return read_into_memory(open_files(*paths, **options))

    return read


read_table = _in_memory(open_table)
"""Reads tables into memory; the arguments are those of `open_table`."""


def _read_interactions(
    path: Path,
    choice: ColumnChoice,
    options: TextOptions,
    split_values: Mapping[str, str],
    time_format: TimeFormat | None,
    counter: RowCounter,
    progress: Progress | None,
) -> Iterator[pl.DataFrame]:
    table = open_table_file(path, choice, options)
    mapping = choice.map(table.names, path)
    note_columns(counter.file(path.name), table.names, mapping)
    named = [ROW, *(pl.col(theirs).alias(ours) for ours, theirs in mapping.items())]
    times = TimeColumn(path, counter, time_format, row=table.row)
    if c.TIMESTAMP in mapping:
        times.choose(frame[mapping[c.TIMESTAMP]] for frame in table.read(RowCounter(), None))
    else:
        times.refuse_format()
    frames = (_require_scalars(frame.select(named), path) for frame in table.read(counter, progress))
    for frame in type_interactions(frames, path, counter, times, row=table.row):
        has_split = c.SPLIT in frame.columns and split_values
        yield frame.with_columns(pl.col(c.SPLIT).replace(split_values)) if has_split else frame


def _read_items(
    path: Path, choice: ColumnChoice, options: TextOptions, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    table = open_table_file(path, choice, options)
    mapping = choice.map(table.names, path)
    # Their columns keep their names; an empty name is that of row numbers.
    others = [name for name in table.names if name and name not in mapping.values() and name not in choice.allowed]
    note_columns(counter.file(path.name), table.names, mapping, others)
    named = [ROW, *(pl.col(theirs).alias(ours) for ours, theirs in mapping.items()), *others]
    for frame in table.read(counter, progress):
        items = drop_missing_ids(
            _require_scalars(frame.select(named), path, lists=True), path, counter, c.ITEM_ID, row=table.row
        )
        texts = [_as_text(items, name) for name in (*mapping, *others) if name != c.ITEM_ID]
        yield items.select(ROW, c.ITEM_ID, *texts)


def open_table_file(path: Path, choice: ColumnChoice, options: TextOptions) -> TableFile:
    """Open a table of either kind. Raises DataError if it has no rows."""
    return _open_parquet(path) if _is_parquet(path) else _open_text(path, choice, options)


def _is_parquet(path: Path) -> bool:
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    with path.open("rb") as file:
        return file.read(len(PARQUET)) == PARQUET or path.suffix == ".parquet"


def _open_parquet(path: Path) -> TableFile:
    frame = read_parquet(path)
    if frame.is_empty():
        raise DataError(f"{path} has columns but no rows; check the export")
    return TableFile(frame.columns, lambda *_: iter([frame.with_row_index(ROW, offset=1)]), "row")


def _open_text(path: Path, choice: ColumnChoice, options: TextOptions) -> TableFile:
    form, names = detect_header(path, options, choice.accepts)
    header = not choice.by_number or set(choice.chosen.values()) <= set(names)
    if not header:
        names = [str(number) for number in range(1, len(names) + 1)]
    elif not choice.accepts(names) and any(_is_number(name) for name in names):
        by_number = " ".join(f"{choice.option} {ours}={place}" for place, ours in enumerate(choice.required, 1))
        first = show(sample_lines(path, options.encoding)[0][0])
        raise DataError(
            f"{path} has no column names in its first line, {first}; give columns by number, as {by_number}"
        )
    require_names(names, path)

    def read(counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        n_rows = 0
        for frame in read_columns(path, names, form, counter, progress, header=header):
            n_rows += len(frame)
            yield frame
        if n_rows == 0 and not any(issue.where == path.name for issue in counter.row_report):
            raise DataError(f"{path} has a header but no rows; check the export")

    return TableFile(names, read, "line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _require_scalars(frame: pl.DataFrame, path: Path, *, lists: bool = False) -> pl.DataFrame:
    """Return the frame. Raises DataError for a column that is not text, numbers or dates (or, with `lists`, lists of them)."""
    for name, dtype in frame.schema.items():
        inner = dtype.inner if lists and isinstance(dtype, pl.List) else dtype
        if inner.is_nested() or inner in (pl.Binary, pl.Object, pl.Duration):
            raise DataError(f"{path}: column {name} holds {dtype}, expected text or numbers; convert or remove it")
    return frame


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    column = pl.col(name)
    if isinstance(frame.schema[name], pl.List):
        column = column.cast(pl.List(pl.String)).list.join(", ")
    return column.cast(pl.String).fill_null("").alias(name)
