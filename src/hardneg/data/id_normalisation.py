"""Ids in one spelling, on request: in both tables of a source, with the number of ids that became one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import Dataset, drop_repeated_items
from hardneg.data.file_summary import FileSummary
from hardneg.data.ids import IdNormalisation, normalise
from hardneg.data.importing import ChunkReader, StreamedDataset
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

IDS = {c.USER_ID: "users", c.ITEM_ID: "items"}


def normalise_ids(source: Dataset | StreamedDataset, how: IdNormalisation) -> Dataset | StreamedDataset:
    """Return the source with ids in one spelling in both tables; the ids of interactions that become one are noted."""
    if isinstance(source, StreamedDataset):
        read_items = None if source.items is None else partial(_normalise_items, source.items, how)
        read = partial(_normalise_interactions, source.interactions, how)
        return replace(source, interactions=read, items=read_items)
    counter = RowCounter()
    counter.files |= source.files
    counter.add(*source.row_report)
    (interactions,) = _normalise_frames(iter([source.interactions]), how, counter)
    items, repeated = drop_repeated_items(_apply(source.items, how), "item table")
    counter.add(*repeated)
    return Dataset(interactions, items, counter.row_report, counter.files)


def _normalise_interactions(
    read: ChunkReader, how: IdNormalisation, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    return _normalise_frames(read(counter, progress), how, counter)


def _normalise_items(
    read: ChunkReader, how: IdNormalisation, counter: RowCounter, progress: Progress | None
) -> Iterator[pl.DataFrame]:
    return (_apply(frame, how) for frame in read(counter, progress))


def _normalise_frames(
    frames: Iterator[pl.DataFrame], how: IdNormalisation, counter: RowCounter
) -> Iterator[pl.DataFrame]:
    before = {name: pl.Series(name, [], pl.String) for name in IDS}
    for frame in frames:
        before = {name: pl.concat([ids, frame[name]]).unique() for name, ids in before.items()}
        yield _apply(frame, how)
    counts = {
        name: (len(ids), ids.to_frame().select(normalise(name, how).n_unique()).item()) for name, ids in before.items()
    }
    texts = [f"{n:,} {IDS[name]} became {left:,}" for name, (n, left) in counts.items() if left < n]
    if texts:
        _first_summary(counter.files).remarks.append(f"ids in one spelling ({how}): {', '.join(texts)}")


def _first_summary(files: dict[str, FileSummary]) -> FileSummary:
    return files.setdefault(next(iter(files), "ids"), FileSummary())


def _apply(frame: pl.DataFrame, how: IdNormalisation) -> pl.DataFrame:
    return frame.with_columns(normalise(name, how) for name in IDS if name in frame.columns)
