"""Datasets in large files, which are read in chunks into memory or onto disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW, Dataset, drop_repeated_items, empty_items
from hardneg.data.filters import FilterConfig, filter_rows, mark_kept_rows
from hardneg.data.row_report import RowCounter, RowReport, drop_rows
from hardneg.errors import DataError
from hardneg.types import Progress


class ChunkReader(Protocol):
    """Reader of a table in frames of one schema."""

    def __call__(self, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Yield the rows in order; `counter` receives the rows left out."""
        ...


@dataclass(frozen=True)
class StreamedDataset:
    """Files that are not read yet; `read` loads them, `importing.write_streamed` writes a folder in bounded memory.

    interactions: reader of frames like `Dataset.interactions`. items: reader of frames with ROW (line in `items_path`),
    item_id and text columns. Items without kept interactions are left out and reported.
    """

    interactions: ChunkReader
    items: ChunkReader | None = None
    items_path: Path | None = None

    def read(self, filters: FilterConfig | None = None, progress: Progress | None = None) -> Dataset:
        """Read everything into memory and apply the filters of `data split`; rows keep the order of the file."""
        counter = RowCounter()
        frame = pl.concat(list(self.filtered_interactions(filters, counter, progress)))
        row_report: RowReport = ()
        if filters is not None:
            kept, row_report = mark_kept_rows(frame, filters)
            frame = frame.filter(kept)
        counter.add(*row_report)
        require_some_rows(len(frame), counter)
        if self.items is None:
            return Dataset(frame, empty_items(), counter.row_report)
        pieces = self.items_of(frame[c.ITEM_ID].unique(), counter, progress)
        items, repeated = drop_repeated_items(pl.concat(list(pieces)), self.items_name)
        return Dataset(frame, items, counter.row_report + repeated)

    @property
    def items_name(self) -> str:
        """Name of the item file in the row report."""
        return self.items_path.name if self.items_path else "items"

    def filtered_interactions(
        self, filters: FilterConfig | None, counter: RowCounter, progress: Progress | None
    ) -> Iterator[pl.DataFrame]:
        """Yield frames filtered by `filter_rows`."""
        for frame in self.interactions(counter, progress):
            kept, issues = (frame, ()) if filters is None else filter_rows(frame, filters)
            counter.add(*issues)
            yield kept

    def items_of(self, item_ids: pl.Series, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Yield frames of the items with these ids."""
        if self.items is None:
            return
        for frame in self.items(counter, progress):
            is_other = ~pl.col(c.ITEM_ID).is_in(item_ids.implode())
            first = f"line {{{ROW}}}, item {{{c.ITEM_ID}!r}}"
            selected, issues = drop_rows(frame, is_other, self.items_name, "of items without interactions", first)
            counter.add(*issues)
            yield selected


def require_some_rows(count: int, counter: RowCounter) -> None:
    """Raise a DataError with the row report if no row is left."""
    if count == 0:
        reasons = "; ".join(map(str, counter.row_report)) or "the file is empty"
        raise DataError(f"found no usable row, expected at least one ({reasons}); is it a file of this source?")
