"""Filters and splits that leave enough data, and the budget of time."""

from __future__ import annotations

import re

import numpy as np
import polars as pl
import pytest

from hardneg.data.dataset import Dataset, empty_items
from hardneg.errors import DataError
from hardneg.quickstart import budget as budgets
from hardneg.quickstart.methods import batch_size
from hardneg.quickstart.preparation import choose_filters, choose_min_rating, choose_preparation


def dataset(n_users: int, n_items: int, per_user: int, **columns: pl.Expr) -> Dataset:
    rng = np.random.default_rng(0)
    items = np.concatenate([rng.permutation(n_items)[:per_user] for _ in range(n_users)])
    frame = pl.DataFrame({"user_id": np.repeat(np.arange(n_users), per_user), "item_id": items}).cast(pl.String)
    return Dataset(frame.with_columns(**columns), empty_items())


def test_the_strictest_core_that_leaves_half_of_the_pairs_is_taken() -> None:
    filters, remarks = choose_filters(dataset(60, 30, 12).interactions)
    assert filters.kcore == 5
    assert "720 of 720 pairs stay" in remarks[0]
    filters, remarks = choose_filters(dataset(5, 30, 12).interactions)
    assert filters.kcore == 0
    assert remarks == ["All 60 pairs are used: a filter for few pairs would leave too little."]


@pytest.mark.parametrize(
    ("ratings", "minimum"),
    [([1, 2, 3, 4, 5, 5, 4], 4), ([0, 1, 1, 1], 1), ([0.5, 5, 4.5, 4], 4), ([1, 1, 1, 1, 1, 5], None), ([5, 5], None)],
)
def test_the_smallest_liked_rating_follows_from_the_scale(ratings: list[float], minimum: float | None) -> None:
    frame = pl.DataFrame({"rating": ratings}, schema={"rating": pl.Float64})
    assert choose_min_rating(frame) == minimum


def test_times_decide_the_split_where_enough_users_are_tested() -> None:
    times = pl.int_range(pl.len()).reverse().cast(pl.Float64)
    mixed = pl.int_range(pl.len()).shuffle(seed=1).cast(pl.Float64)
    assert choose_preparation(dataset(120, 30, 12, timestamp=mixed)).split.by == "time"
    prepared = choose_preparation(dataset(120, 30, 12, timestamp=times))  # each user is active at one time
    assert prepared.split.by == "ratio"
    assert any("would leave" in remark for remark in prepared.remarks)
    assert prepared.everything.filters == prepared.split.filters
    few = pl.when(pl.col("user_id").cast(pl.Int64) % 10 == 0).then(mixed).otherwise(times)
    (remark,) = [one for one in choose_preparation(dataset(1200, 30, 6, timestamp=few)).remarks if "would leave" in one]
    tested, least = map(int, re.findall(r"\d+", remark))
    assert 50 <= tested < least < 120, "more than 50 users, but less than a tenth of all"


def test_too_few_pairs_are_refused_in_one_line() -> None:
    with pytest.raises(DataError, match="too few to hold some out"):
        choose_preparation(dataset(3, 10, 1))
    with pytest.raises(DataError, match="found 3 rows of 1 users and 3 items"):  # a user without negatives
        choose_preparation(dataset(1, 3, 3))


def test_the_costliest_level_that_fits_is_chosen() -> None:
    seconds = {"uniform": 0.1, "DNS": 0.2}
    for available in (1e9, 500.0, 100.0, 30.0, 1.0):
        level = budgets.choose_level(seconds, available, workers=1)
        costs = {one: sum(budgets.expected_seconds(seconds, *one, 1)) for one in budgets.LEVELS}
        fitting = [one for one in budgets.LEVELS if costs[one] <= available]
        assert level == (fitting[0] if fitting else budgets.LEVELS[-1])
    search, compare, final = budgets.expected_seconds(seconds, 4, 10, 1)
    assert (search, compare, final) == pytest.approx((4 * 10 * 0.3, 3 * 10 * 0.3, 1.5 * 10 * 0.2))
    assert budgets.expected_seconds(seconds, 1, 10, 1)[0] == 0
    control = {**seconds, "control": 7.0}
    assert budgets.expected_seconds(control, 4, 10, 1, {"control"})[0] == search
    assert budgets.expected_seconds(control, 4, 10, 1, {"control"})[1] == compare + 3 * 10 * 7.0


def test_batches_leave_enough_steps() -> None:
    assert [batch_size(n) for n in (10, 5_119, 5_120, 40_960, 10**7)] == [128, 128, 256, 2048, 2048]
