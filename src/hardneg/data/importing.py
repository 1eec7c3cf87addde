"""From a source to a dataset folder without ever holding the table: memory does not grow with texts or lines.

Blocks are filtered while they are read and appended to parts on disk. Duplicates and k-core need all rows at once, and
get them without texts: ids as numbers and a time. What they keep is then picked from the parts.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import KIND, ROW, drop_repeated_items, no_items
from hardneg.data.filters import FilterConfig, kept_rows
from hardneg.data.readers.streaming import StreamedDataset, require_some_rows
from hardneg.data.row_report import RowCounter, report_notes
from hardneg.types import Progress

ROWS = 2**17
"""Of a part."""


class ChunkedTable:
    """A table that grows by frames on disk; it is read back in the same order."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._paths: list[Path] = []
        self._waiting: list[pl.DataFrame] = []
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Append rows; they go to disk when there are enough of them."""
        self._waiting.append(frame)
        self.rows += len(frame)
        if sum(map(len, self._waiting)) >= ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what is waiting."""
        if self._waiting:
            self._paths.append(self._folder / f"{len(self._paths):05}.parquet")
            pl.concat(self._waiting).write_parquet(self._paths[-1], compression="lz4")
            self._waiting = []

    @property
    def columns(self) -> list[str]:
        """Their names, once something was written."""
        return list(pl.read_parquet_schema(self._paths[0]))

    def select(self, *columns: pl.Expr) -> pl.DataFrame:
        """Some columns of all rows."""
        return pl.concat([pl.scan_parquet(path, glob=False).select(columns).collect() for path in self._paths])

    def pick(self, kept: pl.Series) -> None:
        """Keep the rows whose flag, (rows,) of bool, is set."""
        start = 0
        for path in self._paths:
            frame = pl.read_parquet(path, glob=False)
            frame.filter(kept[start : start + len(frame)]).write_parquet(path, compression="lz4")
            start += len(frame)
        self.rows = int(kept.sum())

    def write(self, path: Path) -> None:
        """All rows as one file, the line numbers left out."""
        rows = pl.scan_parquet(self._paths, glob=False).select(pl.exclude(ROW))
        rows.sink_parquet(path, compression="zstd", row_group_size=ROWS, maintain_order=True)


def write_streamed(
    folder: Path,
    source: StreamedDataset,
    filters: FilterConfig | None = None,
    *,
    config: Mapping[str, Any],
    inputs: Mapping[str, str],
    progress: Progress | None = None,
) -> None:
    """Write the dataset folder of what `source.read(filters)` would give, in the same order, in bounded memory."""
    tally = RowCounter()
    notes: dict[str, Any] = {}
    with artifacts.writing(folder, KIND, config, inputs, notes) as out, _room_for_parts(out) as room:
        interactions = _interactions(ChunkedTable(room / "interactions"), source, filters, tally, progress)
        interactions.write(out / "interactions.parquet")
        n_items = _write_items(room, out, source, tally, progress)
        notes |= {"rows left out": report_notes(tally.row_report), "rows": interactions.rows, "items": n_items}


def _interactions(
    parts: ChunkedTable,
    source: StreamedDataset,
    filters: FilterConfig | None,
    tally: RowCounter,
    progress: Progress | None,
) -> ChunkedTable:
    for frame in source.filtered_interactions(filters, tally, progress):
        parts.add(frame)
    require_some_rows(parts.rows, tally)
    parts.flush()
    if filters is not None:
        kept, row_report = kept_rows(_index(parts), filters)
        tally.add(*row_report)
        require_some_rows(int(kept.sum()), tally)
        parts.pick(kept)
    return parts


def _index(parts: ChunkedTable) -> pl.DataFrame:
    """The columns that whole-table filters read, ids as numbers behind which polars keeps each spelling once."""
    ids = [pl.col(name).cast(pl.Categorical(pl.Categories.random())) for name in (c.USER_ID, c.ITEM_ID)]
    return parts.select(*ids, *(pl.col(name) for name in (c.TIMESTAMP, c.SPLIT) if name in parts.columns))


def _write_items(room: Path, out: Path, source: StreamedDataset, tally: RowCounter, progress: Progress | None) -> int:
    """Items that are chosen, the first row of each; how many."""
    path = out / "items.parquet"
    parts = ChunkedTable(room / "items")
    chosen = pl.scan_parquet(out / "interactions.parquet", glob=False).select(pl.col(c.ITEM_ID).unique()).collect()
    for frame in source.chosen_items(chosen[c.ITEM_ID], tally, progress):
        parts.add(frame)
    parts.flush()
    if source.items is None:
        no_items().write_parquet(path, compression="zstd")
        return 0
    index = parts.select(pl.col(ROW), pl.col(c.ITEM_ID)).with_row_index("_place")
    first, repeated = drop_repeated_items(index, source.items_name)
    tally.add(*repeated)
    parts.pick(index["_place"].is_in(first["_place"].implode()))
    parts.write(path)
    return parts.rows


@contextmanager
def _room_for_parts(growing: Path) -> Iterator[Path]:
    """A folder that is empty at the start, also after a kill, and gone at the end; after a failure nothing is left."""
    room = growing / "parts"
    shutil.rmtree(room, ignore_errors=True)
    try:
        yield room
    except BaseException:
        shutil.rmtree(growing, ignore_errors=True)
        raise
    shutil.rmtree(room)
