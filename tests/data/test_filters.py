"""What filters keep, and what they say of the rest."""

from __future__ import annotations

import math
from collections import Counter
from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data.columns import PARTS
from hardneg.data.filters import FilterConfig, filter_interactions, mark_kept_rows
from hardneg.errors import ConfigError, DataError

Pair = tuple[str, str]


def frame(rows: list[tuple[object, ...]], *more: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=["user_id", "item_id", *more], orient="row", strict=False)


def seconds(year: int, month: int, day: int, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


def slow_core(pairs: set[Pair], k: int) -> set[Pair]:
    """Drop one offending pair at a time."""
    while True:
        users, items = Counter(u for u, _ in pairs), Counter(i for _, i in pairs)
        bad = next((p for p in sorted(pairs) if users[p[0]] < k or items[p[1]] < k), None)
        if bad is None:
            return pairs
        pairs = pairs - {bad}


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("123456")), min_size=1, max_size=40),
    st.integers(0, 4),
)
def test_kcore_equals_a_slow_loop_and_counts_dropped_rows(pairs: list[Pair], k: int) -> None:
    expected = slow_core(set(pairs), k)
    if not expected:
        with pytest.raises(DataError, match=r"the filters leave no interactions; relax --min-rating.*--kcore"):
            filter_interactions(frame(pairs), FilterConfig(kcore=k))
        return
    kept, row_report = filter_interactions(frame(pairs), FilterConfig(kcore=k))
    assert kept.columns == ["user_id", "item_id"]
    assert len(kept) == len(expected)
    assert set(kept.rows()) == expected
    assert sum(entry.count for entry in row_report) == len(pairs) - len(expected)
    again, nothing = filter_interactions(kept, FilterConfig(kcore=k))
    assert again.equals(kept)
    assert nothing == ()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("abcd"),
            st.sampled_from("1234"),
            st.one_of(st.none(), st.integers(0, 3)),
            st.sampled_from(["train", "valid", "test"]),
        ),
        min_size=1,
        max_size=30,
    ),
    st.integers(0, 3),
)
def test_one_row_per_pair_and_the_core_equal_a_slow_loop(rows: list[tuple[str, str, int | None, str]], k: int) -> None:
    """Of a pair: the first part, then the earliest time, then the first in the file; ids of any type, in any order."""
    best: dict[Pair, tuple[int, float, int]] = {}
    for row, (user, item, time, part) in enumerate(rows):
        key = (PARTS.index(part), math.inf if time is None else time, row)
        best[user, item] = min(best.get((user, item), key), key)
    expected = sorted(best[pair][2] for pair in slow_core(set(best), k))
    table = frame([*rows], "timestamp", "split").with_row_index("row")
    for ids in (pl.String, pl.Categorical):
        flags, row_report = mark_kept_rows(
            table.with_columns(pl.col("user_id", "item_id").cast(ids)), FilterConfig(kcore=k)
        )
        assert flags.dtype == pl.Boolean
        assert table.filter(flags)["row"].to_list() == expected
        repeated, outside = len(rows) - len(best), len(best) - len(expected)
        assert [entry.count for entry in row_report] == [count for count in (repeated, outside) if count]


def test_low_and_missing_ratings_are_left_out_and_reported() -> None:
    rows = [("a", "1", 5.0), ("a", "2", 3.0), ("b", "1", None), ("b", "2", 4.0)]
    kept, (entry,) = filter_interactions(frame(rows, "rating"), FilterConfig(min_rating=4))
    assert kept.rows() == [("a", "1", 5.0), ("b", "2", 4.0)]
    assert (entry.where, entry.count, entry.first) == (("filters", 2, "user 'a', item '2'"))


def test_a_rating_filter_without_ratings_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--min-rating needs a rating column, found user_id, item_id"):
        filter_interactions(frame([("a", "1")]), FilterConfig(min_rating=4))


def test_an_unknown_time_comes_after_all_others_also_in_whole_seconds() -> None:
    """Datasets on disk may have whole numbers as timestamps."""
    for dtype in (pl.Int64, pl.Float64):
        rows = frame([("a", "1", None), ("a", "1", 7)], "timestamp").with_columns(pl.col("timestamp").cast(dtype))
        kept, _ = filter_interactions(rows, FilterConfig())
        assert kept["timestamp"].to_list() == [7]


@pytest.mark.parametrize("config", [FilterConfig(since=date(2020, 1, 1)), FilterConfig(until=date(2020, 1, 1))])
def test_a_date_filter_without_timestamps_is_refused(config: FilterConfig) -> None:
    with pytest.raises(ConfigError, match=r"--since and --until needs a timestamp column, found user_id, item_id"):
        filter_interactions(frame([("a", "1")]), config)


def test_dates_are_days_in_utc_the_last_one_excluded() -> None:
    rows = [
        ("a", "1", seconds(2019, 12, 31, 23)),
        ("a", "2", seconds(2020, 1, 1)),
        ("a", "3", seconds(2020, 1, 31, 23)),
        ("a", "4", seconds(2020, 2, 1)),
        ("a", "5", None),
    ]
    kept, (entry,) = filter_interactions(
        frame(rows, "timestamp"), FilterConfig(since=date(2020, 1, 1), until=date(2020, 2, 1))
    )
    assert kept["item_id"].to_list() == ["2", "3"]
    assert entry.count == 3
    assert "outside the dates" in str(entry)
    assert "item '1'" in entry.first
    open_ended, _ = filter_interactions(frame(rows, "timestamp"), FilterConfig(since=date(2020, 1, 1)))
    assert open_ended["item_id"].to_list() == ["2", "3", "4"]


def test_of_a_repeated_pair_the_earliest_is_kept() -> None:
    rows = [("a", "1", None, "never"), ("a", "1", 9, "late"), ("a", "1", 3, "early"), ("b", "1", 5, "other")]
    kept, (entry,) = filter_interactions(frame(rows, "timestamp", "review"), FilterConfig())
    assert dict(zip(kept["user_id"], kept["review"], strict=True)) == {"a": "early", "b": "other"}
    assert entry.count == 2
    assert "repeating a pair, of which the earliest is kept" in str(entry)


def test_of_a_pair_in_two_parts_the_one_in_train_is_kept() -> None:
    """Otherwise a test row with an early timestamp would take a pair out of train."""
    rows = [("a", "1", 1, "test"), ("a", "1", 2, "valid"), ("a", "1", 3, "train")]
    for order in (rows, rows[::-1]):
        kept, (entry,) = filter_interactions(frame(list(order), "timestamp", "split"), FilterConfig())
        assert kept.rows() == [("a", "1", 3, "train")]
        assert entry.count == 2


def test_filters_are_applied_in_order() -> None:
    """The 2-core is that of the well-rated pairs."""
    rows = [("a", "1", 5), ("a", "2", 5), ("b", "1", 5), ("b", "2", 5), ("c", "1", 5), ("c", "2", 1)]
    kept, row_report = filter_interactions(frame(rows, "rating"), FilterConfig(min_rating=3, kcore=2))
    assert sorted(kept.select("user_id", "item_id").rows()) == [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    assert [(e.count, e.reason) for e in row_report] == [
        (1, "rated lower or not at all"),
        (1, "outside the 2-core"),
    ]
