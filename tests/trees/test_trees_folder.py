"""Trees on disk: what was written is read, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg import artifacts
from hardneg.errors import DataError
from hardneg.stage import Stage
from hardneg.trees import PathCodes, Trees, trees_folder

TREES = Trees(PathCodes.of_texts(["0-1", None, "0-2-3"]), PathCodes.of_texts(["1", "0", "1"]), "made up")


def write(path: Path) -> None:
    Stage(
        trees_folder.KIND,
        {},
        {"training data": "x"},
        lambda draft: trees_folder.write_trees(draft, TREES, ["a", "b", "c"]),
    ).run(path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "trees")
    found = trees_folder.read_trees(tmp_path / "trees", 3)
    np.testing.assert_array_equal(found.structural.codes, TREES.structural.codes)
    np.testing.assert_array_equal(found.semantic.codes, TREES.semantic.codes)
    assert found.source == "made up"
    table = pl.read_parquet(tmp_path / "trees" / "codes.parquet")
    assert table.rows()[1] == (1, "b", None, "0")
    notes = artifacts.read_manifest(tmp_path / "trees", trees_folder.KIND)["notes"]
    assert notes["structural"] == {
        "leaves": 2,
        "shortest code": 2,
        "longest code": 3,
        "items in the fullest leaf": 1,
        "items without a code": 1,
    }


def test_codes_of_another_catalogue_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "trees")
    with pytest.raises(DataError, match=r"3 items, the split has 4.*from this split"):
        trees_folder.read_trees(tmp_path / "trees", 4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.reverse(), "not in the order of its items"),
        (lambda t: t.drop("semantic"), "no column semantic"),
        (lambda t: t.with_columns(pl.lit(3).alias("structural")), "no text in column structural"),
    ],
)
def test_a_table_that_was_changed_by_hand_is_refused(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], said: str
) -> None:
    write(tmp_path / "trees")
    path = tmp_path / "trees" / "codes.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=said):
        trees_folder.read_trees(tmp_path / "trees", 3)


def test_two_catalogues_are_no_pair_of_trees() -> None:
    with pytest.raises(DataError, match="trees of one catalogue"):
        Trees(TREES.structural, PathCodes.of_texts(["0"]), "made up")


def test_the_controls_change_both_trees_and_say_so(rng: np.random.Generator) -> None:
    ways = [f"{way // 20}-{way // 5 % 4}" for way in range(80)]
    trees = Trees(PathCodes.of_texts(ways), PathCodes.of_texts(ways[::-1]), "a run")
    for control, word in (
        (trees.shuffled(rng), "shuffled a run"),
        (trees.random_like(rng), "random, shaped like a run"),
    ):
        assert control.source == word
        assert (control.structural.codes != trees.structural.codes).any(axis=1).mean() > 0.5
        assert (control.semantic.codes != trees.semantic.codes).any(axis=1).mean() > 0.5
        assert (control.structural.codes != control.semantic.codes[::-1]).any(axis=1).mean() > 0.5
