"""Reference for streamed imports: the whole files in memory."""

from __future__ import annotations

import polars as pl

from hardneg.data import Dataset, FilterConfig
from hardneg.data import columns as c
from hardneg.data.dataset import ROW, drop_repeated_items, empty_items
from hardneg.data.filters import filter_rows, mark_kept_rows
from hardneg.data.importing import StreamedDataset
from hardneg.data.row_report import RowCounter, drop_rows
from hardneg.errors import DataError


def read_all(source: StreamedDataset, filters: FilterConfig | None = None) -> Dataset:
    """Read everything into memory and apply the filters of `data split`; rows keep the order of the file."""
    counter = RowCounter()
    frame = pl.concat(list(source.interactions(counter, None)))
    if filters is not None:
        frame, issues = filter_rows(frame, filters)
        counter.add(*issues)
        if not frame.is_empty():
            kept, issues = mark_kept_rows(frame, filters)
            counter.add(*issues)
            frame = frame.filter(kept)
    if frame.is_empty():
        reasons = "; ".join(map(str, counter.row_report)) or "the file is empty"
        raise DataError(f"found no usable row, expected at least one ({reasons}); is it a file of this source?")
    if source.items is None:
        return Dataset(frame, empty_items(), counter.row_report)
    name = source.items_path.name if source.items_path else "items"
    texts = pl.concat(list(source.items(counter, None)))
    is_other, first = (
        ~pl.col(c.ITEM_ID).is_in(frame[c.ITEM_ID].unique().implode()),
        f"line {{{ROW}}}, item {{{c.ITEM_ID}!r}}",
    )
    texts, issues = drop_rows(texts, is_other, name, "of items without interactions", first)
    counter.add(*issues)
    items, repeated = drop_repeated_items(texts, name, source.row)
    return Dataset(frame, items, counter.row_report + repeated)
