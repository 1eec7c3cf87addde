"""Ways to divide: each pair in one part, train decides the vocabulary, and held-out rows reach nobody."""

from __future__ import annotations

from collections.abc import Callable
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
from hardneg.data.split import TRAINING_DATA, Split
from hardneg.data.splitters import SplitConfig, make_split
from hardneg.errors import ConfigError, DataError
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
    divided = splitters._split_by_ratio(dataset(sorted(everything)).interactions, config)
    assert set(divided["user_id"]) == {u for u, _ in everything}
    for user in divided["user_id"].unique():
        size = sum(u == user for u, _ in everything)
        found = [len(divided.filter(user_id=user, split=part)) for part in ("train", "valid", "test")]
        assert sum(found) == size
        assert found[0] >= 1
        if size > 1:
            assert abs(found[1] - 0.2 * size) <= 0.5
            assert abs(found[2] - 0.3 * size) <= 0.5


def test_ratio_depends_only_on_the_seed() -> None:
    rows = [(f"u{u}", f"i{i}") for u in range(10) for i in range(u % 3, 30, 2)]
    one, same, other = (parts(make_split(dataset(rows), SplitConfig(seed=seed))) for seed in (0, 0, 1))
    assert one == same
    assert one != other


def test_leave_one_out_holds_out_the_last_two() -> None:
    rows = [("a", "1", 30), ("a", "2", 10), ("a", "3", 20), ("b", "1", 5), ("b", "2", 6), ("c", "3", 1), ("c", "2", 2)]
    rows += [("d", "1", 1), ("d", "3", 7), ("d", "2", 7), ("e", "1", 1)]
    split = make_split(dataset(rows, "timestamp"), SplitConfig(by="leave-one-out"))
    train, valid, test = parts(split)
    assert test == {("a", "1"), ("d", "3")}, "of two at one time the later spelling is the last"
    assert valid == {("a", "3"), ("d", "2")}
    assert ("b", "2") in train, "two pairs are too few to hold two out"


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
def test_a_pair_without_a_timestamp_is_reported(way: str) -> None:
    rows = [("a", "1", 1), ("b", "2", None), ("b", "3", None)]
    with pytest.raises(DataError, match=r"2 pairs have no timestamp \(first: user 'b', item '2'\)"):
        make_split(dataset(rows, "timestamp"), SplitConfig(by=way))  # type: ignore[arg-type]


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
    assert len(valid) == sum(round(0.2 * sum(u == f"u{n}" for u, _ in by_part["train"])) for n in range(5))
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
