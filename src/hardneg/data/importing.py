"""Streaming import of a source into a dataset folder, in memory that does not grow with texts or lines.

Blocks are filtered while they are read and appended to chunks on disk. Repeated pairs and the k-core are computed over
all rows, from encoded ids and timestamps alone. The kept rows are then selected from the chunks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW, Dataset, drop_repeated_items, empty_items
from hardneg.data.file_summary import file_notes
from hardneg.data.filters import FilterConfig, filter_rows, mark_kept_rows
from hardneg.data.item_join import ItemJoin
from hardneg.data.row_report import RowCounter, report_notes
from hardneg.errors import DataError
from hardneg.stage import Draft
from hardneg.types import Progress

ROWS_PER_CHUNK = 2**16
"""Rows per chunk on disk and per row group of the result; 2^17 rows need half as much memory again."""


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


class ChunkReader(Protocol):
    """Reader of a table in frames of one schema."""

    def __call__(self, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Yield the rows in order; `counter` receives the rows left out."""
        ...


@dataclass(frozen=True)
class StreamedDataset:
    """Files that are not read yet; `write_streamed` imports them in bounded memory.

    interactions: reader of frames like `Dataset.interactions`. items: reader of frames with ROW (line in `items_path`),
    item_id and text columns. row: word for a row of `items_path`. all_items: keep items without interactions, which are
    else left out and reported.
    """

    interactions: ChunkReader
    items: ChunkReader | None = None
    items_path: Path | None = None
    row: str = "line"
    all_items: bool = False


def read_into_memory(source: StreamedDataset) -> Dataset:
    """Read files whole, with all items."""
    counter = RowCounter()
    interactions = pl.concat(source.interactions(counter, None))
    _require_some_rows(len(interactions), counter)
    items = empty_items()
    if source.items is not None and source.items_path is not None:
        name, items = source.items_path.name, pl.concat(source.items(counter, None))
        items, repeated = drop_repeated_items(items, name, source.row)
        counter.add(*repeated)
    return Dataset(interactions, items, counter.row_report, counter.files)


def write_streamed(
    draft: Draft, source: StreamedDataset, filters: FilterConfig | None = None, progress: Progress | None = None
) -> None:
    """Import files in bounded memory; rows keep their order. filters: those that `data split` would apply."""
    counter = RowCounter()
    with _chunk_folder(draft.folder) as chunks:
        interactions = ChunkedTable(chunks / "interactions")
        for frame in source.interactions(counter, progress):
            filtered, issues = filter_rows(frame, filters or FilterConfig())
            counter.add(*issues)
            interactions.add(filtered)
        _require_some_rows(interactions.rows, counter)
        interactions.flush()
        if filters is not None:
            # Categorical ids store each spelling once.
            ids = [pl.col(name).cast(pl.Categorical(pl.Categories.random())) for name in (c.USER_ID, c.ITEM_ID)]
            others = pl.selectors.by_name(c.TIMESTAMP, c.SPLIT, require_all=False)
            kept, row_report = mark_kept_rows(interactions.select(*ids, others), filters)
            counter.add(*row_report)
            _require_some_rows(int(kept.sum()), counter)
            interactions.filter(kept)
        interactions.write(draft.folder / "interactions.parquet")
        item_notes = _write_items(chunks, draft.folder, source, counter, progress)
    draft.notes |= {
        "files read": file_notes(counter.files),
        "rows left out": report_notes(counter.row_report),
        "rows": interactions.rows,
        **item_notes,
    }


def _write_items(
    chunks: Path, out: Path, source: StreamedDataset, counter: RowCounter, progress: Progress | None
) -> dict[str, Any]:
    """Write the first row of each item that has interactions; return notes with their number."""
    path = out / "items.parquet"
    if source.items is None:
        empty_items().write_parquet(path, compression="zstd")
        return {"items": 0}
    table, name = ChunkedTable(chunks / "items"), source.items_path.name if source.items_path else "items"
    item_ids = pl.scan_parquet(out / "interactions.parquet", glob=False).select(pl.col(c.ITEM_ID).unique()).collect()
    join, first = ItemJoin(item_ids[c.ITEM_ID]), f"{source.row} {{{ROW}}}, item {{{c.ITEM_ID}!r}}"
    for frame in source.items(counter, progress):
        is_other = pl.lit(~join.add(frame[c.ITEM_ID]))
        others = "of items without interactions"
        table.add(frame if source.all_items else counter.drop(frame, is_other, name, others, first))
    table.flush()
    index = table.select(pl.col(ROW), pl.col(c.ITEM_ID)).with_row_index("_place")
    firsts, repeated = drop_repeated_items(index, name, source.row)
    counter.add(*repeated)
    table.filter(index["_place"].is_in(firsts["_place"].implode()))
    table.write(path)
    return {"items": table.rows, "item table": join.notes()}


def _require_some_rows(count: int, counter: RowCounter) -> None:
    if count == 0:
        reasons = "; ".join(map(str, counter.row_report)) or "the file is empty"
        raise DataError(f"found no usable row, expected at least one ({reasons}); is it a file of this source?")


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
