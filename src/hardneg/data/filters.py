"""Filters on interactions, each a frame in, a frame and its ledger out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.ledger import Entry, Ledger
from hardneg.errors import ConfigError, DataError

Filtered = tuple[pl.DataFrame, Ledger]
_PLACE = "_place"


class FilterConfig(Config):
    """Which interactions take part, applied in this order, before any split."""

    min_rating: float | None = None
    """Keep ratings of at least this."""
    since: date | None = None
    """Keep what happened on this day (UTC) or later."""
    until: date | None = None
    """Keep what happened before this day (UTC)."""
    kcore: Annotated[int, Field(ge=0)] = 0
    """Every user and every item keeps at least this many distinct pairs (iterated to a fixed point); 0 for none."""


def apply(interactions: pl.DataFrame, config: FilterConfig) -> Filtered:
    """Rating, dates, duplicates, then k-core to a fixed point."""
    interactions, by_row = apply_by_row(interactions, config)
    interactions, by_table = apply_by_table(interactions, config)
    if interactions.is_empty():
        raise DataError("the filters leave no interactions; relax --min-rating, --since, --until or --kcore")
    return interactions, by_row + by_table


def apply_by_row(interactions: pl.DataFrame, config: FilterConfig) -> Filtered:
    """Rating and dates, which look at one row at a time, so that any piece of a table can be filtered by itself."""
    interactions, low = _rating(interactions, config)
    interactions, outside = _dates(interactions, config)
    return interactions, low + outside


def apply_by_table(interactions: pl.DataFrame, config: FilterConfig) -> Filtered:
    """Duplicates and k-core, which look at the ids (and times) of all rows that the filters by row kept."""
    interactions, repeated = _duplicates(interactions, config)
    interactions, outside = _kcore(interactions, config)
    return interactions, repeated + outside


def kept_rows(index: pl.DataFrame, config: FilterConfig) -> tuple[pl.Series, Ledger]:
    """Which rows `apply_by_table` keeps, (rows,) of bool, from their ids and times alone: texts may stay on disk.

    index: user_id, item_id and, where known, timestamp and split; ids of any type.
    """
    names = [name for name in (c.USER_ID, c.ITEM_ID, c.TIMESTAMP, c.SPLIT) if name in index.columns]
    kept, ledger = apply_by_table(index.select(names).with_row_index(_PLACE), config)
    flags = np.zeros(len(index), bool)
    flags[kept[_PLACE].to_numpy()] = True
    return pl.Series(flags), ledger


def _rating(frame: pl.DataFrame, config: FilterConfig) -> Filtered:
    if config.min_rating is None:
        return frame, ()
    _require(frame, c.RATING, "--min-rating")
    return _keep(frame, pl.col(c.RATING).fill_null(float("-inf")) >= config.min_rating, "rated lower or not at all")


def _dates(frame: pl.DataFrame, config: FilterConfig) -> Filtered:
    if config.since is None and config.until is None:
        return frame, ()
    _require(frame, c.TIMESTAMP, "--since and --until")
    since = _seconds(config.since or date.min.replace(year=1))
    until = _seconds(config.until or date(9999, 12, 31))
    wanted = pl.col(c.TIMESTAMP).is_between(since, until, closed="left").fill_null(value=False)
    return _keep(frame, wanted, "outside the dates")


def _duplicates(frame: pl.DataFrame, _: FilterConfig) -> Filtered:
    """One row a pair: with given parts that of the first part, so that a held-out row takes none from train."""
    if c.TIMESTAMP in frame.columns:
        frame = frame.sort(c.TIMESTAMP, nulls_last=True, maintain_order=True)
    if c.SPLIT in frame.columns:
        places = {part: place for place, part in enumerate(c.PARTS)}
        part = pl.col(c.SPLIT).replace_strict(places, default=len(places), return_dtype=pl.Int64)
        frame = frame.sort(part, maintain_order=True)
    return _keep(
        frame, pl.struct(c.USER_ID, c.ITEM_ID).is_first_distinct(), "repeating a pair, of which the earliest is kept"
    )


def _kcore(frame: pl.DataFrame, config: FilterConfig) -> Filtered:
    before = frame
    while config.kcore > 1:
        enough = (pl.len().over(c.USER_ID) >= config.kcore) & (pl.len().over(c.ITEM_ID) >= config.kcore)
        smaller = frame.filter(enough)
        if len(smaller) == len(frame):
            break
        frame = smaller
    if len(frame) == len(before):
        return frame, ()
    dropped = before.join(frame.select(c.USER_ID, c.ITEM_ID), on=[c.USER_ID, c.ITEM_ID], how="anti")
    return frame, (_entry(dropped, f"outside the {config.kcore}-core"),)


def _keep(frame: pl.DataFrame, wanted: pl.Expr, reason: str) -> Filtered:
    dropped = frame.filter(~wanted)
    return (frame, ()) if dropped.is_empty() else (frame.filter(wanted), (_entry(dropped, reason),))


def _entry(dropped: pl.DataFrame, reason: str) -> Entry:
    user, item = dropped.select(c.USER_ID, c.ITEM_ID).row(0)
    return Entry("filters", reason, len(dropped), f"user {user!r}, item {item!r}", "they were left out")


def _require(frame: pl.DataFrame, column: str, option: str) -> None:
    if column not in frame.columns:
        raise ConfigError(f"{option} needs a {column} column, found {', '.join(frame.columns)}; map it on import")


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
