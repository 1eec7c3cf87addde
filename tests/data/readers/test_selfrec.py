"""`user item rating` lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardneg.data.readers import open_selfrec
from hardneg.errors import DataError

from ..streamed import read_all


def put(folder: Path, text: str, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_triples_in_parts(tmp_path: Path) -> None:
    files = {"train": put(tmp_path, "0 a 1\n u1\t b  2.5 \n\n"), "test": put(tmp_path, "0 b 1", "test.txt")}
    data = read_all(open_selfrec(files))
    assert data.interactions.columns == ["user_id", "item_id", "rating", "split"]
    assert data.interactions.rows() == [("0", "a", 1.0, "train"), ("u1", "b", 2.5, "train"), ("0", "b", 1.0, "test")]
    assert data.items.is_empty()
    assert data.row_report == ()


def test_only_bad_lines_are_left_out_and_reported(tmp_path: Path) -> None:
    data = read_all(open_selfrec({"train": put(tmp_path, "0 1 1\n0 1\n0 1 x\n0 1 2 3\n")}))
    assert len(data.interactions) == 1
    assert [(entry.where, entry.count, entry.first) for entry in data.row_report] == [
        ("train.txt", 2, "line 2: '0 1'"),
        ("train.txt", 1, "line 3, rating 'x'"),
    ]


def test_a_file_of_pairs_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt: 2 rows .* 3 fields"):
        read_all(open_selfrec({"train": put(tmp_path, "0 1\n0 2\n")}))
