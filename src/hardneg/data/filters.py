"""Filters on interactions, each a frame in, a frame and its ledger out."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import ConfigError, DataError
from hardneg.types import Flags, Indices

Filtered = tuple[pl.DataFrame, RowReport]


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
    """Duplicates and k-core, which look at all rows that the filters by row kept."""
    kept, row_report = kept_rows(interactions, config)
    return interactions.filter(kept), row_report


def kept_rows(index: pl.DataFrame, config: FilterConfig) -> tuple[pl.Series, RowReport]:
    """Which rows `apply_by_table` keeps, (rows,) of bool, from ids and times alone: texts may stay on disk.

    index: user_id and item_id as text or categories and, where known, timestamp and split.
    """
    users, items = (_numbers(index[name]) for name in (c.USER_ID, c.ITEM_ID))
    first = _first_of_pairs(index, users, items)
    core = _core(users, items, first, config.kcore)
    row_report = _left_out(index, ~first, "repeating a pair, of which the earliest is kept")
    return pl.Series(core), row_report + _left_out(index, first & ~core, f"outside the {config.kcore}-core")


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


def _numbers(ids: pl.Series) -> Indices:
    """(rows,) a number for each distinct id, counted from 0."""
    if not isinstance(ids.dtype, pl.Categorical):
        ids = ids.cast(pl.Categorical(pl.Categories.random()))
    return ids.to_physical().to_numpy().astype(np.int64)


def _first_of_pairs(index: pl.DataFrame, users: Indices, items: Indices) -> Flags:
    """(rows,) true for one row a pair: the earliest; with given parts that of the first part, whatever its time.

    So a held-out row takes no pair out of train. Unknown times come last; of equal ones the first in the file is taken.
    """
    keys = [users * (int(items.max(initial=0)) + 1) + items]
    if c.SPLIT in index.columns:
        places = {part: place for place, part in enumerate(c.PARTS)}
        part = index[c.SPLIT].replace_strict(places, default=len(places), return_dtype=pl.Int8)
        keys.append(part.to_numpy())
    if c.TIMESTAMP in index.columns:
        keys.append(index[c.TIMESTAMP].fill_null(np.iinfo(np.int64).max).to_numpy())
    order = np.lexsort(keys[::-1])
    ordered = keys[0][order]
    first = np.zeros(len(index), bool)
    first[order] = np.diff(ordered, prepend=-1) != 0
    return first


def _core(users: Indices, items: Indices, kept: Flags, k: int) -> Flags:
    """(rows,) true where user and item have k or more of the true rows, to a fixed point. kept: one row a pair."""
    while k > 1:
        enough = kept
        for side in (users, items):
            enough = enough & (np.bincount(side[kept], minlength=side.max(initial=0) + 1) >= k)[side]
        if enough.sum() == kept.sum():
            break
        kept = enough
    return kept


def _keep(frame: pl.DataFrame, wanted: pl.Expr, reason: str) -> Filtered:
    dropped = frame.filter(~wanted)
    return (frame, ()) if dropped.is_empty() else (frame.filter(wanted), (_entry(dropped, reason),))


def _left_out(index: pl.DataFrame, dropped: Flags, reason: str) -> RowReport:
    return (_entry(index.filter(dropped), reason),) if dropped.any() else ()


def _entry(dropped: pl.DataFrame, reason: str) -> RowIssue:
    user, item = dropped.select(c.USER_ID, c.ITEM_ID).row(0)
    return RowIssue("filters", reason, len(dropped), f"user {user!r}, item {item!r}", "they were left out")


def _require(frame: pl.DataFrame, column: str, option: str) -> None:
    if column not in frame.columns:
        raise ConfigError(f"{option} needs a {column} column, found {', '.join(frame.columns)}; map it on import")


def _seconds(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp())
