"""Ways to divide: each pair in one part, train decides the vocabulary, and held-out rows reach nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.data import splitters
from hardneg.data.dataset import Dataset, empty_items
from hardneg.data.filters import FilterConfig
from hardneg.data.split import TRAINING_DATA, Split
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.errors import ConfigError, DataError
from hardneg.random import generator
from hardneg.stage import Stage
from hardneg.text import extract_profiles

Pair = tuple[str, str]
ALL_TRAIN = SplitConfig(train=1, valid=0, test=0)


def dataset(rows: list[tuple[object, ...]], *more: str, items: pl.DataFrame | None = None) -> Dataset:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", *more], orient="row", strict=False)
    return Dataset(frame, empty_items() if items is None else items)


def pairs_of(split: Split, part: str) -> set[Pair]:
    pairs = getattr(split, part)
    users, items = split.vocabulary.user_ids, split.vocabulary.item_ids
    return {(users[u], items[i]) for u, i in zip(pairs.users, pairs.items, strict=True)}


def parts(split: Split) -> list[set[Pair]]:
    return [pairs_of(split, name) for name in ("train", "valid", "test")]


def dropped(split: Split) -> int:
    return sum(entry.count for entry in split.row_report)


pair_sets = st.sets(
    st.tuples(st.sampled_from([f"u{n}" for n in range(6)]), st.sampled_from([f"i{n}" for n in range(12)])),
    min_size=4,
    max_size=40,
)
configs = st.sampled_from(
    [
        SplitConfig(),
        SplitConfig(train=0.5, valid=0.25, test=0.25, seed=3),
        SplitConfig(train=0.6, valid=0.2, test=0.2),
        SplitConfig(train=0, valid=0.5, test=0.5),
        SplitConfig(by="leave-one-out"),
        SplitConfig(by="time", train=0.6, valid=0.2, test=0.2),
        SplitConfig(by="given", valid=0.3),
    ]
)


@settings(deadline=None, max_examples=60)
@given(pair_sets, configs, st.randoms(use_true_random=False))
def test_each_pair_is_in_one_part_or_reported_in_any_row_order(pairs: set[Pair], config: SplitConfig, random) -> None:
    ordered = sorted(pairs)
    random.shuffle(ordered)
    rows = [
        (u, i, random.randrange(20), random.choice(["train", "train", "test"]))  # times with ties
        for u, i in ordered
    ]
    try:
        split = make_split(dataset(rows, "timestamp", "split"), config)
    except DataError as error:
        assert "the split leaves no train pairs" in str(error)  # noqa: PT017 - depends on the pairs
        return
    train, valid, test = parts(split)
    assert len(train) + len(valid) + len(test) + dropped(split) == len(pairs)
    assert len(train | valid | test) == len(train) + len(valid) + len(test)
    assert train | valid | test <= pairs
    assert (split.train.counts >= 1).all()
    assert (split.train.counts < split.train.n_items).all()
    assert (split.train.item_counts >= 1).all()
    random.shuffle(rows)
    again = make_split(dataset(rows, "timestamp", "split"), config)
    assert again.vocabulary == split.vocabulary
    assert parts(again) == [train, valid, test]
    assert again.row_report == split.row_report


@settings(deadline=None, max_examples=40)
@given(pair_sets, st.integers(0, 5))
def test_ratio_keeps_a_train_pair_of_every_user_and_the_shares(pairs: set[Pair], seed: int) -> None:
    config = SplitConfig(train=0.5, valid=0.2, test=0.3, seed=seed)
    everything = {(u, f"i{n}") for u, _ in pairs for n in range(100, 110)} | pairs | {("z", "i100"), ("y", "i999")}
    divided = splitters._split_by_ratio(dataset(sorted(everything)).interactions, config).frame
    assert set(divided["user_id"]) == {u for u, _ in everything}
    for user in divided["user_id"].unique():
        size = sum(u == user for u, _ in everything)
        found = [len(divided.filter(user_id=user, split=part)) for part in ("train", "valid", "test")]
        assert sum(found) == size
        assert found[0] >= 1
        if size > 1:
            assert abs(found[1] - 0.2 * size) < 1
            assert abs(found[2] - 0.3 * size) < 1


def test_ratio_depends_only_on_the_seed() -> None:
    rows = [(f"u{u}", f"i{i}") for u in range(10) for i in range(u % 3, 30, 2)]
    one, same, other = (parts(make_split(dataset(rows), SplitConfig(seed=seed))) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_the_seed_draws_the_pairs_where_sizes_need_no_rounding() -> None:
    rows = [(f"u{u}", f"i{i}") for u in range(10) for i in range(u % 3, 30, 3)]
    one, other = (make_split(dataset(rows), SplitConfig(seed=seed)) for seed in (0, 1))
    assert (one.test.counts == 1).all()
    assert parts(one) != parts(other)


def test_the_seed_draws_the_users_whose_size_is_rounded_up() -> None:
    rows = [(f"u{u}", f"i{i}") for u in range(40) for i in range(u % 3, 15, 3)]
    one, other = (make_split(dataset(rows), SplitConfig(seed=seed)) for seed in (0, 1))
    assert (one.test.counts != other.test.counts).any()


def test_leave_one_out_holds_out_the_last_two() -> None:
    rows = [("a", "1", 30), ("a", "2", 10), ("a", "3", 20), ("b", "1", 5), ("b", "2", 6), ("c", "3", 1), ("c", "2", 2)]
    rows += [("d", "1", 1), ("d", "3", 8), ("d", "2", 7), ("e", "1", 1)]
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="leave-one-out"))
    train, valid, test = parts(split)
    assert test == {("a", "1"), ("d", "3")}
    assert valid == {("a", "3"), ("d", "2")}
    assert ("b", "2") in train, "two pairs are too few to hold two out"
    assert "3 of 5 users have fewer than 3 pairs, of which none is held out" in split.notes["remarks"]


def test_time_splits_at_two_timestamps_for_all_users() -> None:
    rows = [(f"u{n % 3}", f"i{n}", n) for n in range(10)] + [(f"u{n % 3}", f"i{n - 20}", n) for n in range(20, 30)]
    config = SplitConfig(by="time", train=0.5, valid=0.25, test=0.25)
    split = make_split(dataset(rows, "timestamp"), config)
    train, valid, test = parts(split)
    times = {(u, i): t for u, i, t in rows}
    assert (len(train), len(valid), len(test)) == (10, 5, 5)
    assert max(times[p] for p in train) < min(times[p] for p in valid)
    assert max(times[p] for p in valid) < min(times[p] for p in test)


def test_pairs_of_one_timestamp_are_in_one_part() -> None:
    rows = [("a", "1", 1), ("b", "2", 1), ("a", "3", 5), ("b", "1", 5), ("c", "2", 5), ("a", "2", 9)]
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="time", train=0.5, valid=0.25, test=0.25))
    moments = [{t for u, i, t in rows if (u, i) in part} for part in parts(split)]
    assert moments[0] == {1}
    assert not moments[1] & moments[2]


@pytest.mark.parametrize("way", ["leave-one-out", "time"])
def test_missing_timestamps_are_refused(way: str) -> None:
    with pytest.raises(ConfigError, match=f"--by {way} needs a timestamp column, found user_id, item_id"):
        make_split(dataset([("a", "1")]), SplitConfig(by=way))  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["leave-one-out", "time"])
def test_rows_without_a_timestamp_are_left_out_and_counted(way: str) -> None:
    rows = [(f"u{n % 3}", f"i{n % 7}", n) for n in range(20)]
    split = make_split(dataset([("u0", "i1", None), *rows, ("b", "3", None)], "timestamp"), SplitConfig(by=way))  # type: ignore[arg-type]
    assert parts(split) == parts(make_split(dataset(rows, "timestamp"), SplitConfig(by=way)))  # type: ignore[arg-type]
    assert str(split.row_report[0]).startswith("split: 2 rows without a timestamp (first: user 'u0', item 'i1')")


@pytest.mark.parametrize("way", ["leave-one-out", "time"])
def test_a_table_without_any_timestamp_is_refused(way: str) -> None:
    with pytest.raises(DataError, match="none of 2 rows has a timestamp"):
        make_split(
            Dataset(
                dataset([("a", "1", None), ("b", "2", None)], "timestamp").interactions.cast({"timestamp": pl.Float64}),
                empty_items(),
            ),
            SplitConfig(by=way),
        )  # type: ignore[arg-type]


def test_rows_without_a_timestamp_are_no_part_of_the_core() -> None:
    rows = [("a", "1", 1), ("a", "2", 2), ("b", "1", 3), ("b", "2", 4), ("c", "1", 5), ("c", "2", None)]
    config = SplitConfig(by="time", train=1, valid=0, test=0, filters=FilterConfig(kcore=2))
    with pytest.raises(DataError, match="every item in train"):
        make_split(dataset(rows, "timestamp"), config)


# ----------------------------------------------------------------------------------- shares, ties and users too short


def test_shares_of_short_histories_hold_over_all_users() -> None:
    """120 users with 4 pairs each: 8:1:1 of one user is no pair held out, of all users it is 48 and 48."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{i}") for u in range(120) for i in rng.choice(30, 4, replace=False)]
    split = make_split(dataset(rows), SplitConfig())
    assert [len(part) for part in parts(split)] == [384, 48, 48]
    assert split.notes["remarks"] == ["requested 80/10/10 %, obtained 80/10/10 %"]
    assert split.notes["shares"]["obtained"] == {"train": 0.8, "valid": 0.1, "test": 0.1}
    uneven = make_split(dataset(rows), SplitConfig(train=0.74, valid=0.13, test=0.13))
    assert abs(len(uneven.valid) - 0.13 * 480) < 1
    assert abs(len(uneven.test) - 0.13 * 480) < 1


def test_whole_shares_are_divided_as_by_the_smallest_keys() -> None:
    """No chance but the keys: of each user's pairs, by key, the first are test, the next valid."""
    rows = sorted((f"u{u}", f"i{i:02}") for u in range(8) for i in range(u, u + 10 * (1 + u % 2)))
    keys = generator(3, "split").random(len(rows))
    expected: dict[str, set[Pair]] = {"train": set(), "valid": set(), "test": set()}
    for user in {u for u, _ in rows}:
        places = sorted((n for n in range(len(rows)) if rows[n][0] == user), key=keys.__getitem__)
        n_test, n_valid = len(places) // 5, len(places) // 10
        for part, chosen in (
            ("test", places[:n_test]),
            ("valid", places[n_test : n_test + n_valid]),
            ("train", places[n_test + n_valid :]),
        ):
            expected[part] |= {rows[n] for n in chosen}
    divided = splitters._split_by_ratio(
        dataset(rows).interactions, SplitConfig(train=0.7, valid=0.1, test=0.2, seed=3)
    ).frame
    assert {part: set(divided.filter(split=part).select("user_id", "item_id").rows()) for part in expected} == expected


def test_users_with_one_pair_are_counted() -> None:
    rows = (
        [(f"u{u}", f"i{u % 5}") for u in range(30)] + [("long", f"i{i}") for i in range(4)] + [("x", "i4"), ("x", "i5")]
    )
    split = make_split(dataset(rows), SplitConfig(train=0.2, valid=0.4, test=0.4))
    assert "30 of 32 users have one pair, which stays in train" in split.notes["remarks"][1]
    assert "differs from the shares requested by up to" in split.notes["remarks"][1]


def whole_days(n_users: int = 60) -> list[tuple[object, ...]]:
    """Eight of forty items for each user, all on one day: spelling must not decide what is held out."""
    rng = np.random.default_rng(5)
    return [(f"u{u:02}", str(i), 1_526_947_200) for u in range(n_users) for i in rng.choice(40, 8, replace=False)]


def test_ties_of_time_are_broken_by_the_seed_and_counted() -> None:
    rows = whole_days()
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="leave-one-out"))
    assert (len(split.valid), len(split.test)) == (60, 60), "no held-out item is unknown"
    late_spellings = [item for _, item in pairs_of(split, "test") if item[0] in "456789"]
    assert len(late_spellings) < 20, "15 % of the items; by spelling 63 % of the test pairs"
    assert any(remark.startswith("60 of 60 users have several pairs at the time") for remark in split.notes["remarks"])
    reordered = make_split(dataset(rows[::-1], "timestamp"), SplitConfig(by="leave-one-out"))
    assert parts(reordered) == parts(split)
    other = make_split(dataset(rows, "timestamp"), SplitConfig(by="leave-one-out", seed=1))
    assert parts(other) != parts(split)


def test_only_ties_at_a_held_out_pair_count() -> None:
    times = {"early": [1, 1, 2, 3], "test": [1, 2, 3, 3], "valid": [1, 2, 2, 3], "none": [1, 2, 3, 4], "short": [1, 1]}
    rows = [(user, str(n), time) for user, of_user in times.items() for n, time in enumerate(of_user)]
    split = make_split(dataset([*rows, ("z", "9", 0)], "timestamp"), SplitConfig(by="leave-one-out"))
    assert any(remark.startswith("2 of 6 users have several pairs at the time") for remark in split.notes["remarks"])


def test_times_with_fractions_are_in_order() -> None:
    rows = [("a", "1", 5.75), ("a", "2", 5.25), ("a", "3", 5.5), ("b", "1", 5.0), ("b", "2", 5.1), ("b", "4", 5.2)]
    split = make_split(dataset([*rows, ("c", "3", 1.0), ("c", "4", 1.5)], "timestamp"), SplitConfig(by="leave-one-out"))
    assert pairs_of(split, "test") == {("a", "1"), ("b", "4")}
    assert pairs_of(split, "valid") == {("a", "3"), ("b", "2")}


def test_a_moment_with_most_pairs_is_named() -> None:
    rows = [(f"u{n % 10}", f"i{n}", 7 if n >= 40 else n % 7) for n in range(100)]
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="time"))
    remark = split.notes["remarks"][1]
    assert "differs from the shares requested by up to 50.0 points" in remark
    assert "the largest moment, timestamp 7, has 60% of the pairs" in remark
    with pytest.raises(DataError, match=r"validation pairs, .* timestamp 7, has 60% of the pairs; split another way"):
        split.require_pairs("valid")
    with pytest.raises(DataError, match="timestamp 3, has 100% of the pairs"):
        make_split(dataset([(u, i, 3) for u, i, _ in rows], "timestamp"), SplitConfig(by="time"))


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (SplitConfig(train=0.9, valid=0, test=0.1), "split again with a valid share above 0"),
        (SplitConfig(), "8 of 8 users have one pair, which stays in train"),
        (SplitConfig(by="leave-one-out"), "8 of 8 users have fewer than 3 pairs"),
        (SplitConfig(by="given", valid=0), "the imported files have none and the valid share is 0"),
        (SplitConfig(by="given"), "the imported files have none; 8 of 8 users have one pair"),
    ],
)
def test_a_part_without_pairs_has_its_reason(config: SplitConfig, reason: str) -> None:
    rows = [(f"u{n}", f"i{n % 3}", 4 if n == 0 else 5, "train") for n in range(8)]
    split = make_split(dataset(rows, "timestamp", "split"), config)
    with pytest.raises(DataError, match="the split has no validation pairs, which choose the epoch; ") as caught:
        split.require_pairs("valid")
    assert reason in str(caught.value)
    if config.by != "ratio" or config.valid > 0:
        assert "share above 0" not in str(caught.value)


def test_held_out_pairs_left_out_are_the_reason_of_an_empty_part(tmp_path: Path) -> None:
    rows = [("a", "1", "train"), ("b", "2", "train"), ("b", "9", "test"), ("a", "2", "valid")]
    split = make_split(dataset(rows, "split"), SplitConfig(by="given"))
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(tmp_path / "split")
    with pytest.raises(
        DataError, match=r"the split has no test pairs, .* it had 1, which were left out: .*item_id train lacks"
    ):
        splits.read_split(tmp_path / "split").require_pairs("test")


rows_of_any_kind = st.lists(
    st.tuples(
        st.sampled_from([f"u{n}" for n in range(7)]),
        st.sampled_from([f"i{n}" for n in range(9)]),
        st.one_of(st.none(), st.integers(0, 12)),
        st.sampled_from(["train", "train", "valid", "test"]),
    ),
    min_size=1,
    max_size=50,
)


@settings(deadline=None, max_examples=150)
@given(rows_of_any_kind, st.sampled_from(["ratio", "leave-one-out", "time", "given"]), st.integers(0, 3))
def test_every_row_is_in_a_part_or_counted(rows: list[tuple[object, ...]], by: str, seed: int) -> None:
    data = dataset(rows, "timestamp", "split").interactions.cast({"timestamp": pl.Int64})
    config = SplitConfig(by=by, train=0.6, valid=0.2, test=0.2, seed=seed)  # type: ignore[arg-type]
    try:
        split = make_split(Dataset(data, empty_items()), config)
    except DataError as error:
        assert "no train pairs" in str(error) or "rows has a timestamp" in str(error)  # noqa: PT017 - depends on the rows
        return
    sizes = [len(part) for part in parts(split)]
    assert sum(sizes) + dropped(split) == len(rows)
    assert split.notes["shares"]["obtained"]["train"] == pytest.approx(sizes[0] / sum(sizes))
    assert set(split.notes["parts without pairs"]) == {
        part for part, size in zip(("train", "valid", "test"), sizes, strict=True) if not size
    }


# -------------------------------------------------------------------------------------------- pairs for descriptions


def test_all_pairs_are_numbered_for_a_description() -> None:
    """60 users, 20 of them with all five items, and a repeated pair: none is left out but the repetition."""
    rng = np.random.default_rng(2)
    rows = [(f"u{u}", f"i{i}") for u in range(60) for i in rng.choice(5, 5 if u < 20 else 1 + u % 4, replace=False)]
    every = splitters.number_pairs(dataset([*rows, rows[0]]))
    assert (every.train.n_users, every.train.n_items, len(every.train)) == (60, 5, len(rows))
    assert not len(every.valid)


def test_a_dataset_of_one_user_or_item_is_numbered() -> None:
    for rows in ([("a", "1"), ("a", "2")], [("a", "1"), ("b", "1")], [("a", "1")]):
        assert len(splitters.number_pairs(dataset(rows)).train) == len(rows)


def test_given_without_a_split_column_is_refused() -> None:
    with pytest.raises(ConfigError, match="--by given needs a split column"):
        make_split(dataset([("a", "1")]), SplitConfig(by="given"))


def test_unknown_split_values_are_listed_with_the_first_row() -> None:
    rows = [("a", "1", "train"), ("a", "2", "dev"), ("b", "1", None), ("b", "2", "test")]
    with pytest.raises(DataError) as caught:
        make_split(dataset(rows, "split"), SplitConfig(by="given"))
    message = str(caught.value)
    assert "the split column holds 'dev', None in 2 rows (first: user 'a', item '2')" in message


def test_given_parts_stay_as_they_are() -> None:
    rows = [("a", "1", "train"), ("a", "2", "test"), ("b", "2", "train"), ("b", "1", "valid"), ("c", "1", "train")]
    split = make_split(dataset(rows, "split"), SplitConfig(by="given"))
    assert parts(split) == [{("a", "1"), ("b", "2"), ("c", "1")}, {("b", "1")}, {("a", "2")}]


def test_given_without_valid_draws_it_from_train() -> None:
    rows = [(f"u{u}", f"i{i}", "train" if (u + i) % 5 else "test") for u in range(5) for i in range(30) if (u + i) % 3]
    split = make_split(dataset(rows, "split"), SplitConfig(by="given", valid=0.2))
    train, valid, test = parts(split)
    by_part = {name: {(u, i) for u, i, part in rows if part == name} for name in ("train", "test")}
    assert test == by_part["test"]
    assert train | valid == by_part["train"]
    assert abs(len(valid) - 0.2 * len(by_part["train"])) < 1
    untouched = make_split(dataset(rows, "split"), SplitConfig(by="given", valid=0))
    assert len(untouched.valid) == 0


def test_other_methods_ignore_a_split_column() -> None:
    rows = [("a", "1", 5, "train"), ("a", "1", 1, "test"), ("b", "2", 2, "nonsense"), ("b", "3", 3, "x")]
    split = make_split(dataset(rows, "timestamp", "split"), ALL_TRAIN)
    assert parts(split) == [{("a", "1"), ("b", "2"), ("b", "3")}, set(), set()]


def test_a_user_with_every_item_is_left_out_and_reported() -> None:
    rows = [("all", "1"), ("all", "2"), ("all", "3"), ("b", "1"), ("c", "2"), ("c", "3")]
    split = make_split(dataset(rows), ALL_TRAIN)
    assert split.vocabulary.user_ids == ["b", "c"]
    (entry,) = split.row_report
    assert (entry.where, entry.count, entry.first) == (("split", 3, "user 'all'"))


def test_a_user_who_has_every_item_that_remains_is_left_out_too() -> None:
    rows = [("all", "1"), ("all", "2"), ("all", "3"), ("most", "1"), ("most", "2"), ("c", "1"), ("d", "2")]
    split = make_split(dataset(rows), ALL_TRAIN)
    assert split.vocabulary.user_ids == ["c", "d"]
    assert (split.train.counts < split.train.n_items).all()
    (entry,) = split.row_report
    assert entry.count == 5
    assert "2 such user(s)" in entry.remedy


def test_an_empty_split_reports_the_reason() -> None:
    rows = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    with pytest.raises(DataError, match=r"leaves no train pairs \(split: 4 rows of users with every item"):
        make_split(dataset(rows), ALL_TRAIN)


def test_an_empty_split_by_time_is_not_blamed_on_a_split_column() -> None:
    rows = [("a", "1", 5), ("a", "2", 5), ("b", "1", 5), ("b", "3", 5)]
    with pytest.raises(DataError, match=r"100% of the pairs\); use --by ratio, or change the shares$"):
        make_split(dataset(rows, "timestamp"), SplitConfig(by="time"))


@pytest.mark.parametrize("name", ["since", "until"])
def test_a_date_filter_of_numbers_that_only_give_an_order_is_refused(name: str) -> None:
    rows = [("a", "1", 43000.5), ("b", "2", 43900.0), ("b", "3", None)]
    with pytest.raises(ConfigError, match=r"need dates, found timestamps of at most 43900, which.* only give an order"):
        make_split(dataset(rows, "timestamp"), SplitConfig(filters=FilterConfig(**{name: date(2020, 1, 1)})))


def test_a_title_of_many_items_is_named() -> None:
    rows = [(f"u{user}", f"i{item}") for user in range(6) for item in range(20) if (user + item) % 3]
    titles, brands = ["n/a"] * 6 + [f"Kettle {n}" for n in range(14)], ["x"] * 5 + [""] * 15
    items = pl.DataFrame({"item_id": [f"i{item}" for item in range(20)], "title": titles, "brand": brands})
    (remark,) = make_split(dataset(rows, items=items), ALL_TRAIN).notes["remarks"][1:]
    assert remark.startswith("5 items have the title 'n/a' and one brand")
    assert make_split(dataset(rows, items=items[3:]), ALL_TRAIN).notes["remarks"][1:] == []
    blank = items.with_columns(title=pl.lit(""))
    assert make_split(dataset(rows, items=blank), ALL_TRAIN).notes["remarks"][1:] == []


def test_test_ids_that_train_lacks_are_reported() -> None:
    rows = [("a", "1", "train"), ("b", "2", "train"), ("a", "9", "test"), ("z", "1", "test"), ("b", "1", "test")]
    split = make_split(dataset(rows, "split"), SplitConfig(by="given", valid=0))
    assert pairs_of(split, "test") == {("b", "1")}
    user, item = split.row_report
    assert (user.count, user.reason) == (1, "whose user_id train lacks")
    assert user.first == "test pair of user 'z' and item '1'"
    assert item.count == 1
    assert "item_id train lacks" in item.reason
    assert item.first == "test pair of user 'a' and item '9'"
    assert split.vocabulary.item_ids == ["1", "2"], "an item of the test alone is not even numbered"


def test_without_a_test_share_nothing_is_held_out_by_time() -> None:
    rows = [(f"u{n % 3}", f"i{n}", n) for n in range(12)]
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="time", train=1, valid=0, test=0))
    assert (len(split.train), len(split.valid), len(split.test)) == (12, 0, 0)


def test_whole_numbers_are_ordered_by_value_and_names_by_spelling() -> None:
    rows = [("10", "i10"), ("9", "i9"), ("2", "i10")]
    split = make_split(dataset(rows), ALL_TRAIN)
    assert split.vocabulary.user_ids == ["2", "9", "10"]
    assert split.vocabulary.item_ids == ["i10", "i9"]


@pytest.mark.parametrize("by", ["ratio", "time"])
def test_shares_that_do_not_sum_to_one_are_refused(by: str) -> None:
    with pytest.raises(ValidationError, match=r"train \+ valid \+ test is 0\.9, expected 1"):
        SplitConfig(by=by, train=0.7)  # type: ignore[arg-type]


def test_the_row_report_of_all_steps_is_kept() -> None:
    rows = [("a", "1", 5), ("a", "2", 1), ("b", "2", 5)]
    split = make_split(dataset(rows, "rating"), SplitConfig(train=1, valid=0, test=0, filters={"min_rating": 3}))  # type: ignore[arg-type]
    assert [entry.where for entry in split.row_report] == ["filters"]


# ------------------------------------------------------------------------------------------------ the held-out firewall


def given_world() -> tuple[pl.DataFrame, pl.DataFrame]:
    """Twelve users, twenty items with texts; a quarter of the pairs is test, ratings, times and reviews everywhere."""
    rng = np.random.default_rng(11)
    users, items = np.nonzero(rng.random((12, 20)) < 0.45)
    n = len(users)
    frame = pl.DataFrame(
        {
            "user_id": [f"u{u}" for u in users],
            "item_id": [f"i{i}" for i in items],
            "rating": rng.integers(1, 6, n).astype(float),
            "timestamp": rng.permutation(n) + 1000,
            "review": [f"word{rng.integers(9)} word{rng.integers(9)} said{k}" for k in range(n)],
            "split": rng.choice(["train", "train", "train", "test"], n),
        }
    )
    texts = pl.DataFrame(
        {
            "item_id": [f"i{i}" for i in range(20)],
            "title": [f"word{i % 9} thing{i}" for i in range(20)],
            "description": [f"word{i % 5} word{i % 7}" for i in range(20)],
        }
    )
    return frame, texts


def other_items(frame: pl.DataFrame) -> pl.DataFrame:
    """Every test row gets another item of train; some then repeat a train pair, and are earlier than it."""
    known = sorted(set(frame.filter(pl.col("split") == "train")["item_id"]))
    drawn = pl.Series(np.random.default_rng(5).choice(known, len(frame)))
    return frame.with_columns(
        item_id=pl.when(pl.col("split") == "test").then(drawn).otherwise(pl.col("item_id")),
        timestamp=pl.when(pl.col("split") == "test").then(1).otherwise(pl.col("timestamp")),
    )


def in_test(**values: pl.Expr) -> Callable[[pl.DataFrame], pl.DataFrame]:
    return lambda frame: frame.with_columns(
        **{k: pl.when(pl.col("split") == "test").then(v).otherwise(pl.col(k)) for k, v in values.items()}
    )


CHANGES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "other items": other_items,
    "other ratings": in_test(rating=pl.lit(1.0)),
    "other times": in_test(timestamp=pl.lit(99_999) - pl.col("timestamp")),
    "other reviews": in_test(review=pl.lit("thing3 thing4 something else")),
    "no reviews": in_test(review=pl.lit(None)),
    "fewer rows": lambda frame: frame.filter((pl.col("split") == "train") | (pl.int_range(pl.len()) % 2 == 0)),
    "another order": lambda frame: frame.sample(fraction=1.0, shuffle=True, seed=4),
    "reversed": lambda frame: frame.reverse(),
}


def written(folder: Path, frame: pl.DataFrame, texts: pl.DataFrame) -> Split:
    split = make_split(Dataset(frame, texts), SplitConfig(by="given", valid=0.2))
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(folder)
    return split


@pytest.mark.parametrize("name", CHANGES)
def test_training_data_do_not_depend_on_test_rows(name: str, tmp_path: Path) -> None:
    frame, texts = given_world()
    changed = CHANGES[name](frame)
    assert not changed.equals(frame)
    one, other = written(tmp_path / "a", frame, texts), written(tmp_path / "b", changed, texts)
    hashes, others = artifacts.content_hashes(tmp_path / "a"), artifacts.content_hashes(tmp_path / "b")
    assert set(TRAINING_DATA) | {"valid.parquet", "test.parquet"} == set(hashes) == set(others)
    for file in (*TRAINING_DATA, "valid.parquet"):
        assert hashes[file] == others[file], file
    assert splits.training_data_hash(tmp_path / "a") == splits.training_data_hash(tmp_path / "b")
    assert extract_profiles(one) == extract_profiles(other)
    if name in ("other items", "fewer rows"):
        assert hashes["test.parquet"] != others["test.parquet"], "the change must be one"
    elif name != "other times":
        assert hashes["test.parquet"] == others["test.parquet"]


def test_training_data_depend_on_train_rows(tmp_path: Path) -> None:
    """The test above could not fail otherwise."""
    frame, texts = given_world()
    written(tmp_path / "a", frame, texts)
    is_train = pl.col("split") == "train"
    change = pl.when(is_train).then(pl.lit("thing3")).otherwise(pl.col("review"))
    written(tmp_path / "b", frame.with_columns(review=change), texts)
    written(
        tmp_path / "c", frame.filter(~is_train | (pl.int_range(pl.len()) != frame["split"].index_of("train"))), texts
    )
    hashes = {splits.training_data_hash(tmp_path / name) for name in "abc"}
    assert len(hashes) == 3


def test_no_held_out_review_is_in_the_split() -> None:
    frame, texts = given_world()
    split = make_split(Dataset(frame, texts), SplitConfig(by="given", valid=0.2))
    ids = split.vocabulary
    reviews = {(ids.user_ids[u], ids.item_ids[i], review) for u, i, review in split.reviews.rows()}
    train = pairs_of(split, "train")
    assert len(reviews) == len(train)
    assert reviews == {(u, i, r) for u, i, r in frame.select("user_id", "item_id", "review").rows() if (u, i) in train}
