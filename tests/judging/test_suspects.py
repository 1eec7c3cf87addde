"""Suspects folders: reading, writing and validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.edited_folders import accept_changes

from hardneg.artifacts import read_manifest
from hardneg.data import Split
from hardneg.data.row_report import RowIssue
from hardneg.data.truth import Truth
from hardneg.errors import ConfigError, DataError
from hardneg.judging import suspects
from hardneg.judging.suspects import REJECTED_SCHEMA, Suspects
from hardneg.stage import Stage


@pytest.fixture
def split(store: tuple[Split, Truth]) -> Split:
    return store[0]


@pytest.fixture
def result(split: Split) -> Suspects:
    """Three unobserved items each of the first four users; the second of each has no label."""
    users = np.repeat(np.arange(4), 3)
    items = np.concatenate(
        [np.setdiff1d(np.arange(split.train.n_items), split.train.items_of(u))[:3] for u in range(4)]
    )
    return Suspects(users, items, np.tile([0.2, np.nan, 0.9], 4), "rule")


def _write(folder: Path, result: Suspects, split: Split) -> Path:
    rejected = pl.DataFrame([("u", "i", "left out")], schema=REJECTED_SCHEMA, orient="row")
    entry = RowIssue("judge", "left out", 1, "user u", "nothing")
    Stage(
        suspects.KIND,
        {"a": 1},
        {},
        lambda draft: suspects.write_suspects(draft, result, split.vocabulary, rejected, row_report=(entry,)),
    ).run(folder)
    return folder


def test_suspects_are_read_back(split: Split, result: Suspects, tmp_path: Path) -> None:
    folder = _write(tmp_path / "suspects", result, split)
    back = suspects.read_suspects(folder, split)
    assert back.users.tolist() == result.users.tolist()
    assert back.items.tolist() == result.items.tolist()
    np.testing.assert_array_equal(back.probability, result.probability)
    notes = read_manifest(folder, suspects.KIND)["notes"]
    assert (back.judge, notes["candidates"], notes["unlabelled"], notes["at least 0.5"]) == ("rule", 12, 4, 4)
    assert notes["rows left out"][0]["reason"] == "left out"
    assert pl.read_parquet(folder / "rejected.parquet").rows() == [("u", "i", "left out")]


def test_above_includes_the_threshold_and_excludes_missing_labels(result: Suspects) -> None:
    assert result.above(0.9).probability.tolist() == [0.9] * 4
    assert len(result.above(0.1)) == 8
    assert len(result.above(1.0)) == 0
    for threshold in (0.0, 1.5):
        with pytest.raises(ConfigError, match="expected one above 0"):
            result.above(threshold)


def test_pairs_are_those_of_the_suspects(split: Split, result: Suspects) -> None:
    pairs = result.above().pairs(split.train)
    assert (len(pairs), pairs.n_items) == (4, split.train.n_items)
    assert pairs.contains(result.users[2::3], result.items[2::3]).all()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (lambda t, _: t.with_columns(pl.lit("nobody").alias("user_id")), "user_id 'nobody'"),
        (lambda t, _: t.with_columns(pl.lit(None, pl.String).alias("item_id")), "item_id None"),
        (lambda t, _: pl.concat([t, t.head(1)]), "a pair twice"),
        (lambda t, _: t.with_columns(pl.lit(1.2).alias("probability")), "1.2"),
        (lambda t, _: t.with_columns(pl.lit("surely").alias("probability")), "String in column probability"),
        (lambda t, _: t.with_columns(pl.concat_list("item_id")), r"List\(String\) in column item_id"),
        (lambda t, _: t.drop("judge"), "no column judge"),
        (lambda t, observed: t.head(1).with_columns(pl.lit(observed).alias("item_id")), "1 training pairs"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    split: Split, result: Suspects, tmp_path: Path, table: object, message: str
) -> None:
    folder = _write(tmp_path / "suspects", result, split)
    observed = split.vocabulary.item_ids[int(split.train.items_of(0)[0])]
    path = folder / suspects.TABLE
    table(pl.read_parquet(path), observed).write_parquet(path)  # type: ignore[operator]
    accept_changes(folder)
    with pytest.raises(DataError, match=message):
        suspects.read_suspects(folder, split)


def test_invalid_probabilities_and_shapes_are_refused() -> None:
    pairs = np.arange(2), np.arange(2)
    for probability in ([0.5, 3.0], [-0.1, 0.5]):
        with pytest.raises(DataError, match="expected 0 to 1"):
            Suspects(*pairs, np.array(probability), "made up")
    with pytest.raises(DataError, match=r"\(2,\), \(2,\) and \(3,\)"):
        Suspects(*pairs, np.ones(3), "made up")
