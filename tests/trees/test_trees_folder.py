"""Both trees of a small catalogue; the trees folder, read back or refused; released path codes."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.edited_folders import accept_changes

from hardneg import artifacts
from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.stage import Stage
from hardneg.trees import (
    PathCodes,
    TreeConfig,
    Trees,
    TreesConfig,
    best_in_history,
    mask_untrained,
    prefix_similarity,
    read_released_codes,
    semantic_codes,
    structural_codes,
    trees_folder,
)

SMALL = TreesConfig(embedding_size=8, tree=TreeConfig(leaf_items=12))


def two_groups() -> Interactions:
    """Users below 40 prefer items 0-19, the others 20-39, with one pair in ten drawn from all items.

    Item 40 has one user, who has no other item; item 41 has none."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 8)
    items = rng.integers(0, 20, len(users)) + 20 * (users >= 40)
    items = np.where(rng.random(len(users)) < 0.1, rng.integers(0, 40, len(users)), items)
    return Interactions.of(np.append(users, 80), np.append(items, 40), n_users=81, n_items=42)


def test_the_structural_tree_separates_groups_of_users() -> None:
    codes, notes = structural_codes(two_groups(), SMALL.model_copy(update={"embedding_size": 2}))
    assert np.flatnonzero(~codes.coded).tolist() == [40, 41]
    leaves = np.unique(codes.codes[:40], axis=0, return_inverse=True)[1]
    same_leaf = (leaves[:, None] == leaves) & ~np.eye(40, dtype=bool)
    same_group = (np.arange(40) >= 20)[:, None] == (np.arange(40) >= 20)
    assert same_group[same_leaf].mean() > 0.9
    assert same_group.mean() == 0.5
    assert notes["null vectors dropped"] == 1
    assert notes["eigenvectors"] == 2
    assert notes["item graph exact"]
    assert 0 < notes["largest eigenvalue kept"] < 1


def test_items_that_train_lacks_get_no_semantic_code(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(42, 4)).astype(np.float32)
    codes = semantic_codes(mask_untrained(vectors, two_groups()), SMALL)
    assert np.flatnonzero(~codes.coded).tolist() == [41]
    with pytest.raises(DataError, match=r"9 items.* 42"):
        mask_untrained(vectors[:9], two_groups())


def test_a_seed_gives_the_same_codes() -> None:
    one, again = (structural_codes(two_groups(), SMALL)[0].codes for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_a_train_set_without_shared_users_has_a_tree_of_nothing() -> None:
    train = Interactions.of(np.arange(3), np.arange(3), n_users=3, n_items=3)
    codes, notes = structural_codes(train, SMALL)
    assert codes.texts() == [None] * 3
    assert notes["largest eigenvalue kept"] is None


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
    accept_changes(tmp_path / "trees")
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


BY_HAND = "12: 0-3-1\n10: 2\n13: 0-3\n"


def similarity_as_released(one: str, other: str) -> float:
    """Common prefix over the shorter length, on the text of two codes."""
    paths = one.split("-"), other.split("-")
    shared = 0
    while shared < min(map(len, paths)) and paths[0][shared] == paths[1][shared]:
        shared += 1
    return shared / min(map(len, paths))


@pytest.mark.parametrize("name", ["codes.txt", "codes.txt.gz"])
def test_lines_in_any_order_and_items_without_one(tmp_path: Path, name: str) -> None:
    data = BY_HAND.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    codes, row_report = read_released_codes(tmp_path / name, 5, item_offset=10)
    assert codes.texts() == ["2", None, "0-3-1", "0-3", None]
    assert row_report == ()


def test_bad_lines_are_left_out_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "codes.txt"
    path.write_text("0: 1-2\n0: 1-3\n7: 1\n-1: 0\n1: \n2: a-b\n3 0-1\n\n4:0-1\n1: 0--1\n1: 0-99999\n")
    codes, row_report = read_released_codes(path, 5)
    assert codes.texts() == ["1-2", None, None, None, "0-1"]
    assert [(entry.count, entry.first) for entry in row_report] == [
        (6, "line 4: '-1: 0'"),
        (1, "line 3: '7: 1'"),
        (1, "line 2: '0: 1-3'"),
    ]


def test_a_wrong_offset_is_refused(tmp_path: Path) -> None:
    (tmp_path / "codes.txt").write_text(BY_HAND)
    with pytest.raises(DataError, match="item offset"):
        read_released_codes(tmp_path / "codes.txt", 5, item_offset=500)


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "offset", "n_items", "leaves"), [("Sports", 15138, 8439, (646, 625)), ("Toys", 15306, 10074, (796, 748))]
)
def test_the_released_codes(real: Path, name: str, offset: int, n_items: int, leaves: tuple[int, int]) -> None:
    """Counts as in the data's description; similarities as in a loop over the texts."""
    rng = np.random.default_rng(0)
    for kind, n_leaves in zip(("struct", "semantic"), leaves, strict=True):
        codes, row_report = read_released_codes(
            real / f"dtlns/{name}/{name}_{kind}_path_encoding.txt.gz", n_items, item_offset=offset
        )
        assert (codes.n_items, len(codes.leaf_sizes), row_report) == (n_items, n_leaves, ())
        assert codes.leaf_sizes.max() == 30
        items, candidates = rng.integers(0, n_items, 200), rng.integers(0, n_items, (200, 8))
        found, texts = prefix_similarity(codes, items, candidates), [text or "" for text in codes.texts()]
        expected = [
            [similarity_as_released(texts[i], texts[j]) for j in row] for i, row in zip(items, candidates, strict=True)
        ]
        np.testing.assert_array_equal(found, np.array(expected, np.float32))
        best = best_in_history(codes, np.arange(201), items, candidates)
        np.testing.assert_array_equal(best.similarity, found)
