"""Datasets: interactions and item texts under the ids of their source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.file_summary import FileSummary, file_notes
from hardneg.data.item_join import ItemJoin
from hardneg.data.row_report import RowReport, report_notes, report_rows
from hardneg.errors import DamagedError, DataError
from hardneg.stage import Draft

KIND = "dataset"
ROW = "\0row"
"""Temporary column with the number of a row in its file. No name of a text file holds a NUL."""
INTERACTION_TYPES = {
    c.USER_ID: pl.String,
    c.ITEM_ID: pl.String,
    c.RATING: pl.Float64,
    c.TIMESTAMP: pl.Float64,
    c.REVIEW: pl.String,
    c.SPLIT: pl.String,
}


@dataclass(frozen=True)
class Dataset:
    """Interactions and item texts.

    interactions: user_id, item_id and, if known, rating, timestamp, review and split. items: item_id and text columns.
    row_report: the rows that reading left out or changed. files: file name -> how it was understood.
    """

    interactions: pl.DataFrame
    items: pl.DataFrame
    row_report: RowReport = ()
    files: Mapping[str, FileSummary] = field(default_factory=dict)


def empty_items() -> pl.DataFrame:
    """Return the item table of a source without texts."""
    return pl.DataFrame(schema={c.ITEM_ID: pl.String})


def drop_repeated_items(items: pl.DataFrame, where: str, row: str = "row") -> tuple[pl.DataFrame, RowReport]:
    """Keep the first row of every item and report the others. where: name of the file or table. row: word for a row."""
    numbered = items if ROW in items.columns else items.with_row_index(ROW, offset=1)
    repeated = numbered.filter(~pl.col(c.ITEM_ID).is_first_distinct())
    first, remedy = f"{row} {{{ROW}}}, item {{{c.ITEM_ID}!r}}", "the first row of an item is kept"
    report = report_rows(repeated, where, "repeating an item", first, remedy)
    return items.drop(ROW, strict=False).unique(c.ITEM_ID, keep="first", maintain_order=True), report


def write_dataset(draft: Draft, dataset: Dataset) -> None:
    """Write interactions.parquet and items.parquet, and note the files, the sizes and the rows left out."""
    draft.notes |= {
        "files read": file_notes(dataset.files),
        "rows left out": report_notes(dataset.row_report),
        "rows": len(dataset.interactions),
        "items": len(dataset.items),
    }
    if dataset.items.width > 1:
        join = ItemJoin(dataset.interactions[c.ITEM_ID].unique())
        join.add(dataset.items[c.ITEM_ID])
        draft.notes["item table"] = join.notes()
    dataset.interactions.write_parquet(draft.folder / "interactions.parquet", compression="zstd")
    dataset.items.write_parquet(draft.folder / "items.parquet", compression="zstd")


def read_dataset(folder: Path) -> Dataset:
    """Read a dataset folder."""
    artifacts.read_manifest(folder, KIND)
    return Dataset(read_parquet(folder / "interactions.parquet"), read_parquet(folder / "items.parquet"))


def read_parquet(path: Path) -> pl.DataFrame:
    """Read a Parquet file. Raises DataError with the path if it is missing, DamagedError if it is broken."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    try:
        return pl.read_parquet(path, glob=False)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        raise DamagedError(f"{path} is not a readable Parquet file ({str(error).partition(chr(10))[0]})") from None
