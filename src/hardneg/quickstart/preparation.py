"""Filters and the split of an imported dataset: as strict as the data allow, and said in a sentence each."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import polars as pl

from hardneg.data import SplitConfig, make_split
from hardneg.data import columns as c
from hardneg.data.dataset import Dataset
from hardneg.data.filters import FilterConfig, filter_rows, mark_kept_rows
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.quickstart.column_guesses import share_true

CORES = (5, 3, 2)
"""Smallest numbers of pairs of every user and item to try, strictest first."""
LEAST_KEPT = 0.5
"""Share of the pairs that a core must keep."""
LEAST_LIKED = 0.4
"""Share of the rated pairs that a smallest rating must keep."""
LEAST_USERS, LEAST_ITEMS = 20, 20
"""Users and items that a core must keep."""
LEAST_TESTED, LEAST_SHARE_TESTED = 50, 0.1
"""Least number and share of users with test pairs, and with validation pairs, for a split by time."""
TIMED = 0.9
"""Share of the pairs that must have a time."""
LIKED = 0.75
"""Place on the scale of ratings, from its lowest to its highest, from which an item counts as liked."""
SMALL = 100_000
"""Number of pairs below which a random split tests a fifth of the pairs in place of a tenth."""


@dataclass(frozen=True)
class Preparation:
    """Settings of the split. remarks: what was chosen, and why."""

    split: SplitConfig
    remarks: tuple[str, ...]

    @property
    def everything(self) -> SplitConfig:
        """Settings with the same filters, and every pair in train."""
        return SplitConfig(by="ratio", train=1, valid=0, test=0, filters=self.split.filters)


def choose_preparation(dataset: Dataset) -> Preparation:
    """Choose filters and a split. Raises DataError where no pair can be held out."""
    filters, remarks = choose_filters(dataset.interactions)
    config, more = _choose_split(dataset, filters)
    return Preparation(config, (*remarks, *more))


def choose_filters(interactions: pl.DataFrame) -> tuple[FilterConfig, list[str]]:
    """Return the filters, and a remark for each. interactions: as in a dataset."""
    minimum = choose_min_rating(interactions)
    config = FilterConfig(min_rating=minimum)
    rated, _ = filter_rows(interactions, config)
    remarks = []
    if minimum is not None:
        remarks.append(
            f"A rating of {minimum:g} or more counts as liked: {len(rated):,} of {len(interactions):,} rows."
        )
    n_pairs = int(mark_kept_rows(rated, FilterConfig())[0].sum())
    for core in CORES:
        kept = rated.filter(mark_kept_rows(rated, FilterConfig(kcore=core))[0])
        users, items = kept[c.USER_ID].n_unique(), kept[c.ITEM_ID].n_unique()
        if len(kept) >= LEAST_KEPT * n_pairs and users >= LEAST_USERS and items >= LEAST_ITEMS:
            remarks.append(
                f"Users and items with fewer than {core} pairs are left out; {len(kept):,} of {n_pairs:,} pairs stay "
                f"({users:,} users, {items:,} items)."
            )
            return config.model_copy(update={"kcore": core}), remarks
    remarks.append(f"All {n_pairs:,} pairs are used: a filter for few pairs would leave too little.")
    return config, remarks


def choose_min_rating(interactions: pl.DataFrame) -> float | None:
    """Return the smallest rating that counts as liked; None without ratings, or where they would leave too few pairs."""
    if c.RATING not in interactions.columns:
        return None
    ratings = interactions[c.RATING].drop_nulls()
    if len(ratings) < TIMED * len(interactions) or ratings.n_unique() < 2:
        return None
    low, high = float(np.min(ratings.to_numpy())), float(np.max(ratings.to_numpy()))
    minimum = high if high - low <= 1 else float(math.ceil(low + LIKED * (high - low)))
    return minimum if share_true(ratings >= minimum) >= LEAST_LIKED else None


def _choose_split(dataset: Dataset, filters: FilterConfig) -> tuple[SplitConfig, list[str]]:
    """Return a split by time where that leaves users to test on, else a random one."""
    remarks, frame = list[str](), dataset.interactions
    timed = share_true(frame[c.TIMESTAMP].is_not_null()) if c.TIMESTAMP in frame.columns else 0.0
    if 0 < timed < TIMED:
        remarks.append(f"No split by time: {timed:.0%} of the rows have a time, expected {TIMED:.0%}.")
    if timed >= TIMED:
        by_time = SplitConfig(by="time", filters=filters)
        tested, least = 0, float(LEAST_TESTED)
        with suppress(DataError):
            split = make_split(dataset, by_time)
            tested, least = _users_held_out(split), max(least, LEAST_SHARE_TESTED * split.train.n_users)
        if tested >= least:
            return by_time, [
                "Split by time: the first 80 % of the pairs train, the next 10 % choose, the last 10 % test."
            ]
        remarks.append(f"A split by time would leave {tested:,} users to test on, fewer than {math.ceil(least):,}.")
    shares = {"train": 0.7, "valid": 0.1, "test": 0.2} if len(frame) < SMALL else {}
    at_random = SplitConfig.model_validate({"by": "ratio", "filters": filters, **shares})
    try:
        tested = _users_held_out(make_split(dataset, at_random))
    except DataError:
        tested = 0
    if not tested:
        users, items = frame[c.USER_ID].n_unique(), frame[c.ITEM_ID].n_unique()
        raise DataError(
            f"found {len(frame):,} rows of {users:,} users and {items:,} items, too few to hold some out for validation "
            "and test; expected about 5 a user; give more orders"
        )
    train, valid, test = (f"{100 * share:.0f} %" for share in (at_random.train, at_random.valid, at_random.test))
    return at_random, [*remarks, f"Split at random: of each user's pairs {train} train, {valid} choose, {test} test."]


def _users_held_out(split: Split) -> int:
    """Return the smaller number of users with validation pairs and with test pairs."""
    return min(int((part.counts > 0).sum()) for part in (split.valid, split.test))
