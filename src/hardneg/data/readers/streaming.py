"""What a reader of large files returns: how to read them, piece by piece, into memory or onto disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW, Dataset, drop_repeated_items, no_items
from hardneg.data.filters import FilterConfig, apply_by_row, kept_rows
from hardneg.data.row_report import RowCounter, RowIssue, RowReport
from hardneg.errors import DataError
from hardneg.types import Progress


class ChunkReader(Protocol):
    """Reads a table from its first row to its last, in frames of one schema."""

    def __call__(self, tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """What bad rows cost goes into the tally."""
        ...


@dataclass(frozen=True)
class StreamedDataset:
    """Files that are not read yet. `read` gives a Dataset; `importing.write` a folder, in bounded memory.

    interactions: frames as of `Dataset.interactions`. items: frames of ROW (the line in `items_path`), item_id and text.
    Items that no kept interaction has are left out and counted: a catalogue may be far larger than what was chosen.
    """

    interactions: ChunkReader
    items: ChunkReader | None = None
    items_path: Path | None = None

    def read(self, filters: FilterConfig | None = None, progress: Progress | None = None) -> Dataset:
        """All in memory; filters as `data split` applies them, but rows stay in the file's order."""
        tally = RowCounter()
        frame = pl.concat(list(self.filtered_interactions(filters, tally, progress)))
        row_report: RowReport = ()
        if filters is not None:
            kept, row_report = kept_rows(frame, filters)
            frame = frame.filter(kept)
        tally.add(*row_report)
        require_some_rows(len(frame), tally)
        if self.items is None:
            return Dataset(frame, no_items(), tally.row_report)
        pieces = self.chosen_items(frame[c.ITEM_ID].unique(), tally, progress)
        items, repeated = drop_repeated_items(pl.concat(list(pieces)), self.items_name)
        return Dataset(frame, items, tally.row_report + repeated)

    @property
    def items_name(self) -> str:
        """What the ledger calls the item file."""
        return self.items_path.name if self.items_path else "items"

    def filtered_interactions(
        self, filters: FilterConfig | None, tally: RowCounter, progress: Progress | None
    ) -> Iterator[pl.DataFrame]:
        """Frames after the filters that look at one row at a time."""
        for frame in self.interactions(tally, progress):
            kept, entries = (frame, ()) if filters is None else apply_by_row(frame, filters)
            tally.add(*entries)
            yield kept

    def chosen_items(self, item_ids: pl.Series, tally: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        """Frames of those items that are wanted."""
        if self.items is None:
            return
        for frame in self.items(tally, progress):
            wanted = frame[c.ITEM_ID].is_in(item_ids.implode())
            others = frame.filter(~wanted)
            if not others.is_empty():
                line, item = others.select(ROW, c.ITEM_ID).row(0)
                first = f"line {line}, item {item!r}"
                tally.add(
                    RowIssue(self.items_name, "of items without interactions", len(others), first, "they were left out")
                )
            yield frame.filter(wanted)


def require_some_rows(count: int, tally: RowCounter) -> None:
    """Nothing left is an error that says where everything went."""
    if count == 0:
        reasons = "; ".join(map(str, tally.row_report)) or "the file is empty"
        raise DataError(f"found no usable row, expected at least one ({reasons}); is it a file of this source?")
