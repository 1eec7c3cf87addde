"""The trees folder: read back, and refused where it does not match the split."""

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

TREES = Trees(PathCodes.of_texts(["0-1", None, "0-2-3"]), PathCodes.of_texts(["1", "0", "1"]), "a run")


def write(path: Path) -> None:
    Stage(
        trees_folder.KIND,
        {},
        {"training data": "x"},
        lambda draft: trees_folder.write_trees(draft, TREES, ["a", "b", "c"]),
    ).run(path)


def test_trees_are_read_back(tmp_path: Path) -> None:
    write(tmp_path / "trees")
    found = trees_folder.read_trees(tmp_path / "trees", 3)
    np.testing.assert_array_equal(found.structural.codes, TREES.structural.codes)
    np.testing.assert_array_equal(found.semantic.codes, TREES.semantic.codes)
    assert found.source == "a run"
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
    with pytest.raises(DataError, match=r"3 items.* 4"):
        trees_folder.read_trees(tmp_path / "trees", 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.reverse(), "0 to 2"),
        (lambda t: t.drop("semantic"), "column semantic"),
        (lambda t: t.with_columns(pl.lit(3).alias("structural")), "column structural"),
    ],
)
def test_a_table_that_was_changed_by_hand_is_refused(
    tmp_path: Path, change: Callable[[pl.DataFrame], pl.DataFrame], message: str
) -> None:
    write(tmp_path / "trees")
    path = tmp_path / "trees" / "codes.parquet"
    change(pl.read_parquet(path)).write_parquet(path)
    with pytest.raises(DataError, match=message):
        trees_folder.read_trees(tmp_path / "trees", 3)


def test_trees_of_two_catalogues_are_refused() -> None:
    with pytest.raises(DataError, match="3 structural and 1 semantic"):
        Trees(TREES.structural, PathCodes.of_texts(["0"]), "a run")


def test_the_controls_change_both_trees_and_the_source(rng: np.random.Generator) -> None:
    texts = [f"{item // 20}-{item // 5 % 4}" for item in range(80)]
    trees = Trees(PathCodes.of_texts(texts), PathCodes.of_texts(texts[::-1]), "a run")
    for control, source in (
        (trees.shuffled(rng), "shuffled a run"),
        (trees.random_like(rng), "random, shaped like a run"),
    ):
        assert control.source == source
        assert (control.structural.codes != trees.structural.codes).any(axis=1).mean() > 0.5
        assert (control.semantic.codes != trees.semantic.codes).any(axis=1).mean() > 0.5
        assert (control.structural.codes != control.semantic.codes[::-1]).any(axis=1).mean() > 0.5
