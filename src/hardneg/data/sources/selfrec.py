"""`user item rating` lines, given parts in files of their own (SELFRec, QRec)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.ledger import Tally
from hardneg.data.sources import cells, separated
from hardneg.data.sources.source import Source
from hardneg.types import Progress


def open_selfrec(files: Mapping[str, Path]) -> Source:
    """Triples between white space; ids may be any text without it.

    files: train, valid or test -> file.
    """
    return Source(partial(_interactions, dict(files)))


def _interactions(files: Mapping[str, Path], tally: Tally, progress: Progress | None) -> Iterator[pl.DataFrame]:
    for part, path in files.items():
        for frame in separated.columns(path, (c.USER_ID, c.ITEM_ID, c.RATING), separated.SPACES, tally, progress):
            yield cells.interactions(frame.with_columns(pl.lit(part).alias(c.SPLIT)), path, tally)
