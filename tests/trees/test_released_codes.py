"""Released path codes, from a small file and from the real one."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from hardneg.errors import DataError
from hardneg.trees import best_in_history, prefix_similarity, read_released_codes

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
