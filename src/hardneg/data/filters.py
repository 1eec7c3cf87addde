"""Filters of interactions: rating, dates, repeated pairs, k-core. Each returns the rows kept and a row report."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Annotated, cast

import numpy as np
import polars as pl
from pydantic import Field

from hardneg.config import Config
from hardneg.data import columns as c
from hardneg.data.row_report import RowReport, drop_rows, report_rows
from hardneg.data.times import SMALLEST_TIME
from hardneg.errors import ConfigError, DataError
from hardneg.types import Flags, Indices

Filtered = tuple[pl.DataFrame, RowReport]
_WHERE, _FIRST = "filters", f"user {{{c.USER_ID}!r}}, item {{{c.ITEM_ID}!r}}"


class FilterConfig(Config):
    """Filters of interactions, applied in this order before the split."""

    min_rating: float | None = None
    """Minimum rating."""
    since: date | None = None
    """First day (UTC)."""
    until: date | None = None
    """Day (UTC) after the last one."""
    kcore: Annotated[int, Field(ge=0)] = 0
    """Minimum number of distinct pairs of every user and item, by iteration to a fixed point; 0 for none."""


def filter_interactions(interactions: pl.DataFrame, config: FilterConfig) -> Filtered:
    """Filter by rating and dates, keep one row per pair, then take the k-core."""
    interactions, row_issues = filter_rows(interactions, config)
    kept, table_issues = mark_kept_rows(interactions, config)
    interactions = interactions.filter(kept)
    if interactions.is_empty():
        raise DataError("the filters leave no interactions; relax --min-rating, --since, --until or --kcore")
    return interactions, row_issues + table_issues


def filter_rows(interactions: pl.DataFrame, config: FilterConfig) -> Filtered:
    """Filter by rating and dates. Rows are independent, so a table may be filtered in blocks."""
    row_report: RowReport = ()
    if config.min_rating is not None:
        _require(interactions, c.RATING, "--min-rating")
        too_low = pl.col(c.RATING).fill_null(float("-inf")) < config.min_rating
        interactions, row_report = drop_rows(interactions, too_low, _WHERE, "rated lower or not at all", _FIRST)
    if config.since is not None or config.until is not None:
        _require(interactions, c.TIMESTAMP, "--since and --until")
        days = (config.since or date.min, config.until or date.max)
        since, until = (int(datetime.combine(day, time(), UTC).timestamp()) for day in days)
        inside = pl.col(c.TIMESTAMP).is_between(since, until, closed="left").fill_null(value=False)
        interactions, outside = drop_rows(interactions, ~inside, _WHERE, "outside the dates", _FIRST)
        row_report += outside
    return interactions, row_report


def require_dates(interactions: pl.DataFrame, config: FilterConfig) -> None:
    """Raise ConfigError if days are to be kept by timestamps so small that they only give an order."""
    if c.TIMESTAMP not in interactions.columns or not (config.since or config.until):
        return
    largest = cast(float | None, interactions[c.TIMESTAMP].cast(pl.Float64).abs().max())
    if largest is not None and largest < SMALLEST_TIME:
        raise ConfigError(
            f"--since and --until need dates, found timestamps of at most {largest:.15g}, which are before 1973 "
            "or only give an order; import dates"
        )


def mark_kept_rows(index: pl.DataFrame, config: FilterConfig) -> tuple[pl.Series, RowReport]:
    """Return flags (rows,) of the rows that are the first of their pair and in the k-core.

    index: user_id and item_id (strings or categories) and, if known, timestamp and split. Texts may stay on disk.
    """
    users, items = (_encode(index[name]) for name in (c.USER_ID, c.ITEM_ID))
    first = _mark_first_of_pairs(index, users, items)
    core = _mark_core(users, items, first, config.kcore)
    repeated, outside = index.filter(~first), index.filter(first & ~core)
    report = report_rows(repeated, _WHERE, "repeating a pair, of which the earliest is kept", _FIRST)
    return pl.Series(core), report + report_rows(outside, _WHERE, f"outside the {config.kcore}-core", _FIRST)


def _encode(ids: pl.Series) -> Indices:
    """Return (rows,) a number for each distinct id, counted from 0."""
    if not isinstance(ids.dtype, pl.Categorical):
        ids = ids.cast(pl.Categorical(pl.Categories.random()))
    return ids.to_physical().to_numpy().astype(np.int64)


def _mark_first_of_pairs(index: pl.DataFrame, users: Indices, items: Indices) -> Flags:
    """Return (rows,) flags of one row per pair: of the first part if parts are known, then the earliest.

    The part comes before the time, since a held-out row must not remove a pair from train. Unknown times come last; of
    equal times the first in the file is taken.
    """
    keys = [users * (int(items.max(initial=0)) + 1) + items]
    if c.SPLIT in index.columns:
        order_of_parts = {part: place for place, part in enumerate(c.PARTS)}
        part = index[c.SPLIT].replace_strict(order_of_parts, default=len(c.PARTS), return_dtype=pl.Int8)
        keys.append(part.to_numpy())
    if c.TIMESTAMP in index.columns:
        keys.append(index[c.TIMESTAMP].cast(pl.Float64).fill_null(np.inf).to_numpy())
    order = np.lexsort(keys[::-1])
    ordered = keys[0][order]
    first = np.zeros(len(index), bool)
    first[order] = np.diff(ordered, prepend=-1) != 0
    return first


def _mark_core(users: Indices, items: Indices, core: Flags, k: int) -> Flags:
    """Return (rows,) flags of the k-core. core: flags of one row per pair."""
    while k > 1:
        enough = core
        for side in (users, items):
            enough = enough & (np.bincount(side[core], minlength=side.max(initial=0) + 1) >= k)[side]
        if enough.sum() == core.sum():
            break
        core = enough
    return core


def _require(frame: pl.DataFrame, column: str, option: str) -> None:
    if column not in frame.columns:
        raise ConfigError(f"{option} needs a {column} column, found {', '.join(frame.columns)}; map it on import")
