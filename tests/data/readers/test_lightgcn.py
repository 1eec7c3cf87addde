"""`user item item ...` lines."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.readers import read_lightgcn
from hardneg.errors import DataError, HardnegError


def put(folder: Path, text: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_adjacency_lists_become_pairs(tmp_path: Path) -> None:
    data = read_lightgcn({"train": put(tmp_path, "0 5 6\n1\n2 7 \n"), "test": put(tmp_path, "0 7", "test.txt")})
    assert data.interactions.columns == ["user_id", "item_id", "split"]
    assert data.interactions.rows() == [
        ("0", "5", "train"),
        ("0", "6", "train"),
        ("2", "7", "train"),
        ("0", "7", "test"),
    ]
    assert data.items.is_empty()
    assert data.row_report == ()


def test_a_pair_that_is_not_a_number_is_left_out(tmp_path: Path) -> None:
    data = read_lightgcn({"train": put(tmp_path, "0 5 x 6\n\nyou 1 2\n3 -4\n")})
    assert data.interactions.rows() == [("0", "5", "train"), ("0", "6", "train")]
    (entry,) = data.row_report
    assert (entry.where, entry.count, entry.first) == (("train.txt", 4, "line 1: '0 x'"))


def test_users_without_any_item_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt holds users but no items, expected lines `user item item ...`"):
        read_lightgcn({"train": put(tmp_path, "0\n1\n2\n")})


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", r"train\.txt is empty"),
        (b"\xff\xff", r"train\.txt holds no line of text \(train\.txt: 1 row with bytes that are not utf-8"),
        (b"user item\n", r"train\.txt holds no usable row; train\.txt: 1 row "),
    ],
)
def test_an_unusable_file_is_named(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_lightgcn({"train": put(tmp_path, data)})


words = st.sampled_from(["0", "3", "12", "-1", "x", "1.0", "99999999999999999999"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(words, max_size=5), max_size=10))
def test_every_pair_is_kept_or_counted(tmp_path: Path, lines: list[list[str]]) -> None:
    path = put(tmp_path, "\n".join(" ".join(line) for line in lines))
    try:
        data = read_lightgcn({"train": path})
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - whether it raises depends on the lines
        return
    pairs = [(line[0], item) for line in lines for item in line[1:]]
    assert len(data.interactions) + sum(entry.count for entry in data.row_report) == len(pairs)
    kept = [(user, item, "train") for user, item in pairs if {user, item} <= {"0", "3", "12"}]
    assert data.interactions.rows() == kept


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=30) | st.text(alphabet="01 \n\r\t-x\u2028", max_size=30).map(str.encode))
def test_no_file_raises_anything_but_our_errors(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, data)
    try:
        assert len(read_lightgcn({"train": path}).interactions) > 0
    except HardnegError as error:
        assert path.name in str(error)  # noqa: PT017 - whether it raises depends on the bytes
