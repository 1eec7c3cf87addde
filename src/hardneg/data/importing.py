"""Streaming import of a source into a dataset folder, in memory that does not grow with texts or lines.

Blocks are filtered while they are read and appended to chunks on disk. Repeated pairs and the k-core are computed over
all rows, from encoded ids and timestamps alone. The kept rows are then selected from the chunks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW, drop_repeated_items, empty_items
from hardneg.data.filters import FilterConfig, mark_kept_rows
from hardneg.data.readers.streaming import StreamedDataset, require_some_rows
from hardneg.data.row_report import RowCounter, report_notes
from hardneg.stage import Draft
from hardneg.types import Progress

ROWS_PER_CHUNK = 2**17
"""Rows per chunk on disk."""


class ChunkedTable:
    """A table on disk that is appended to frame by frame and keeps its order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._paths: list[Path] = []
        self._pending: list[pl.DataFrame] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows; they are written once a chunk is full."""
        self._pending.append(frame)
        self.rows += len(frame)
        if sum(map(len, self._pending)) >= ROWS_PER_CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write the pending rows."""
        if self._pending:
            self._paths.append(self._folder / f"{len(self._paths):05}.parquet")
            pl.concat(self._pending).write_parquet(self._paths[-1], compression="lz4")
            self._pending = []

    @property
    def columns(self) -> list[str]:
        """Column names; requires at least one written chunk."""
        return list(pl.read_parquet_schema(self._paths[0]))

    def select(self, *columns: pl.Expr) -> pl.DataFrame:
        """Return some columns of all rows."""
        return pl.concat([pl.scan_parquet(path, glob=False).select(columns).collect() for path in self._paths])

    def filter(self, kept: pl.Series) -> None:
        """Keep the rows whose flag (rows,) is true."""
        start = 0
        for path in self._paths:
            frame = pl.read_parquet(path, glob=False)
            frame.filter(kept[start : start + len(frame)]).write_parquet(path, compression="lz4")
            start += len(frame)
        self.rows = int(kept.sum())

    def write(self, path: Path) -> None:
        """Write all rows to one file, without line numbers."""
        rows = pl.scan_parquet(self._paths, glob=False).select(pl.exclude(ROW))
        rows.sink_parquet(path, compression="zstd", row_group_size=ROWS_PER_CHUNK, maintain_order=True)


def write_streamed(
    draft: Draft, source: StreamedDataset, filters: FilterConfig | None = None, progress: Progress | None = None
) -> None:
    """Write the dataset that `source.read(filters)` would return, in the same order, in bounded memory."""
    counter, out = RowCounter(), draft.folder
    with _chunk_folder(out) as chunks:
        interactions = _read_interactions(ChunkedTable(chunks / "interactions"), source, filters, counter, progress)
        interactions.write(out / "interactions.parquet")
        n_items = _write_items(chunks, out, source, counter, progress)
    draft.notes |= {"rows left out": report_notes(counter.row_report), "rows": interactions.rows, "items": n_items}


def _read_interactions(
    table: ChunkedTable,
    source: StreamedDataset,
    filters: FilterConfig | None,
    counter: RowCounter,
    progress: Progress | None,
) -> ChunkedTable:
    for frame in source.filtered_interactions(filters, counter, progress):
        table.add(frame)
    require_some_rows(table.rows, counter)
    table.flush()
    if filters is not None:
        kept, row_report = mark_kept_rows(_index(table), filters)
        counter.add(*row_report)
        require_some_rows(int(kept.sum()), counter)
        table.filter(kept)
    return table


def _index(table: ChunkedTable) -> pl.DataFrame:
    """Return the columns that `mark_kept_rows` reads; categorical ids store each spelling once."""
    ids = [pl.col(name).cast(pl.Categorical(pl.Categories.random())) for name in (c.USER_ID, c.ITEM_ID)]
    return table.select(*ids, *(pl.col(name) for name in (c.TIMESTAMP, c.SPLIT) if name in table.columns))


def _write_items(
    chunks: Path, out: Path, source: StreamedDataset, counter: RowCounter, progress: Progress | None
) -> int:
    """Write the first row of each item that has interactions; return their number."""
    path = out / "items.parquet"
    table = ChunkedTable(chunks / "items")
    item_ids = pl.scan_parquet(out / "interactions.parquet", glob=False).select(pl.col(c.ITEM_ID).unique()).collect()
    for frame in source.items_of(item_ids[c.ITEM_ID], counter, progress):
        table.add(frame)
    table.flush()
    if source.items is None:
        empty_items().write_parquet(path, compression="zstd")
        return 0
    index = table.select(pl.col(ROW), pl.col(c.ITEM_ID)).with_row_index("_place")
    first, repeated = drop_repeated_items(index, source.items_name)
    counter.add(*repeated)
    table.filter(index["_place"].is_in(first["_place"].implode()))
    table.write(path)
    return table.rows


@contextmanager
def _chunk_folder(draft: Path) -> Iterator[Path]:
    """Yield an empty folder and remove it afterwards; after a failure remove the whole draft."""
    chunks = draft / "parts"
    shutil.rmtree(chunks, ignore_errors=True)  # of an import that was killed
    try:
        yield chunks
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    shutil.rmtree(chunks)
