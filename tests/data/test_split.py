"""A split on disk and in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.edited_folders import accept_changes

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.dataset import Dataset
from hardneg.data.split import TRAINING_DATA, Split, Vocabulary
from hardneg.errors import DataError
from hardneg.stage import Stage

VOCABULARY = Vocabulary(["a", "b", "c"], ["1", "2", "3", "4"])


@pytest.fixture
def split() -> Split:
    rows = [
        ("b", "3", "train", "fine"),
        ("a", "1", "train", "good"),
        ("a", "2", "train", "  "),
        ("c", "4", "train", None),
        ("a", "3", "valid", "secret one"),
        ("b", "1", "test", "secret two"),
    ]
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "split", "review"], orient="row")
    items = pl.DataFrame({"item_id": ["3", "9", "1", "3"], "title": ["Three", "Nine", None, "Again"]})
    return Split.of(frame, VOCABULARY, items)


def test_pairs_are_numbered_by_the_vocabulary(split: Split) -> None:
    assert (split.train.n_users, split.train.n_items) == (3, 4)
    assert split.train.users.tolist() == [0, 0, 1, 2]
    assert split.train.items.tolist() == [0, 1, 2, 3]
    assert (split.valid.users.tolist(), split.valid.items.tolist()) == ([0], [2])
    assert (split.test.users.tolist(), split.test.items.tolist()) == ([1], [0])
    assert VOCABULARY.users == {"a": 0, "b": 1, "c": 2}
    assert VOCABULARY.items["4"] == 3


def test_texts_are_in_order_of_item_index(split: Split) -> None:
    assert split.texts.rows() == [("1", ""), ("2", ""), ("3", "Three"), ("4", "")]


def test_a_repeated_item_in_the_text_table_is_reported(split: Split) -> None:
    (entry,) = split.row_report
    assert (entry.count, entry.first) == (1, "row 4, item '3'")
    assert "the first row of an item is kept" in str(entry)


def test_only_train_reviews_with_text_are_kept(split: Split) -> None:
    assert split.reviews.columns == ["user", "item", "review"]
    assert split.reviews.rows() == [(0, 0, "good"), (1, 2, "fine")]


def test_a_source_without_reviews_has_none() -> None:
    frame = pl.DataFrame({"user_id": ["a"], "item_id": ["1"], "split": ["train"]})
    made = Split.of(frame, Vocabulary(["a"], ["1"]), datasets.empty_items())
    assert made.reviews.schema == {"user": pl.Int64, "item": pl.Int64, "review": pl.String}
    assert made.reviews.is_empty()
    assert made.texts.rows() == [("1",)]


def test_a_written_split_reads_back(split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {"seed": 1}, {"dataset": "x"}, lambda draft: splits.write_split(draft, split)).run(
        tmp_path / "s"
    )
    again = splits.read_split(tmp_path / "s")
    for part in ("train", "valid", "test"):
        one, other = getattr(split, part), getattr(again, part)
        assert (one.users.tolist(), one.items.tolist()) == (other.users.tolist(), other.items.tolist())
        assert (one.n_users, one.n_items) == (other.n_users, other.n_items)
    assert again.vocabulary == split.vocabulary
    assert again.texts.equals(split.texts)
    assert again.reviews.equals(split.reviews)
    notes = artifacts.read_manifest(tmp_path / "s", "split")["notes"]
    assert {k: v for k, v in notes.items() if k != "rows left out"} == {
        "users": 3,
        "items": 4,
        "items with a text": 1,
        "train pairs": 4,
        "valid pairs": 1,
        "test pairs": 1,
    }
    assert notes["rows left out"][0]["first"] == "row 4, item '3'"


def test_training_files_contain_no_held_out_review(split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(tmp_path / "s")
    for file in (tmp_path / "s").glob("*.parquet"):
        text = str(pl.read_parquet(file).rows())
        assert "secret" not in text, file.name
    assert "good" in str(pl.read_parquet(tmp_path / "s" / "train_reviews.parquet").rows())


def test_the_training_data_hash_ignores_held_out_pairs(split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(tmp_path / "a")
    moved = split.with_part("test", np.array([2]), np.array([0])).with_part("valid", np.array([2]), np.array([1]))
    assert (moved.test.users.tolist(), moved.valid.items.tolist()) == ([2], [1])
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, moved)).run(tmp_path / "b")
    assert splits.training_data_hash(tmp_path / "a") == splits.training_data_hash(tmp_path / "b")
    assert artifacts.folder_hash(tmp_path / "a") != artifacts.folder_hash(tmp_path / "b")
    for file in TRAINING_DATA:
        (tmp_path / "b" / file).rename(tmp_path / "kept")
        with artifacts.trusting():
            assert splits.training_data_hash(tmp_path / "a") != splits.training_data_hash(tmp_path / "b"), file
        with pytest.raises(DataError, match=f"{file} is missing"):
            splits.training_data_hash(tmp_path / "b")
        (tmp_path / "kept").rename(tmp_path / "b" / file)


def test_a_dataset_folder_is_not_a_split_folder(tmp_path: Path) -> None:
    frame = pl.DataFrame({"user_id": ["a"], "item_id": ["1"]})
    Stage(
        datasets.KIND, {}, {}, lambda draft: datasets.write_dataset(draft, Dataset(frame, datasets.empty_items()))
    ).run(tmp_path / "d")
    with pytest.raises(DataError, match=r"d is a dataset folder, expected a split folder"):
        splits.read_split(tmp_path / "d")


@pytest.mark.parametrize("file", ["train.parquet", "users.parquet", "train_reviews.parquet"])
def test_a_broken_file_of_a_split_is_named(split: Split, tmp_path: Path, file: str) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(tmp_path / "s")
    (tmp_path / "s" / file).write_bytes(b"PAR1 no more")
    with pytest.raises(DataError, match=rf"{file} "):
        splits.read_split(tmp_path / "s")
    (tmp_path / "s" / file).unlink()
    with pytest.raises(DataError, match=rf"{file} is missing"):
        splits.read_split(tmp_path / "s")


def test_a_pair_outside_the_vocabulary_on_disk_is_refused(split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, split)).run(tmp_path / "s")
    pl.DataFrame({"user": [0], "item": [4]}).write_parquet(tmp_path / "s" / "test.parquet")
    accept_changes(tmp_path / "s")
    with pytest.raises(DataError, match=r"found an item outside 0\.\.3"):
        splits.read_split(tmp_path / "s")
