"""`user item` lines."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.readers import read_pairs
from hardneg.errors import DataError, HardnegError


def put(folder: Path, text: str | bytes, name: str = "train.txt") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_parts_come_from_separate_files(tmp_path: Path) -> None:
    files = {
        "train": put(tmp_path, "0 10\n 1\t11 \r\n\n"),
        "valid": put(tmp_path, gzip.compress(b"0 12\n"), "v.txt.gz"),
        "test": put(tmp_path, "1 10", "t.txt"),
    }
    data = read_pairs(files, item_offset=10)
    assert data.interactions.columns == ["user_id", "item_id", "split"]
    assert data.interactions.rows() == [
        ("0", "0", "train"),
        ("1", "1", "train"),
        ("0", "2", "valid"),
        ("1", "0", "test"),
    ]
    assert data.items.is_empty()
    assert data.row_report == ()


def test_lines_that_are_not_pairs_are_left_out_and_reported(tmp_path: Path) -> None:
    data = read_pairs({"train": put(tmp_path, "\n0 1\n0 1 2\n7\n0 x\n-1 2\n1.5 2\n3 4\n")})
    assert data.interactions.select("user_id", "item_id").rows() == [("0", "1"), ("3", "4")]
    long, strange = data.row_report
    assert (long.where, long.count, long.first) == ("train.txt", 2, "line 3: '0 1 2'")
    assert (strange.where, strange.count, strange.first) == (("train.txt", 3, "line 5: '0 x'"))


def test_items_below_the_offset_are_left_out_and_reported(tmp_path: Path) -> None:
    data = read_pairs({"train": put(tmp_path, "0 10\n0 9\n1 3\n")}, item_offset=10)
    assert data.interactions.rows() == [("0", "0", "train")]
    (entry,) = data.row_report
    assert (entry.where, entry.count, entry.first) == (("train.txt", 2, "line 2: 9"))


def test_a_wrong_item_offset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"train\.txt: every item is below the item offset 500; check --item-offset"):
        read_pairs({"train": put(tmp_path, "0 10\n1 11\n")}, item_offset=500)


def test_an_adjacency_list_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"holds no line of two numbers \(first: line 1: '0 1 2 3'\); is it a file for lightgcn"
    ):
        read_pairs({"train": put(tmp_path, "0 1 2 3\n1 4 5\n")})


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (b"", "a.txt", r"a\.txt is empty, expected"),
        (b" \n\n", "a.txt", r"a\.txt holds no line of text \(it is blank\)"),
        (b"\xff\xff\x00", "a.txt", r"a\.txt holds no line of text \(.* not utf-8"),
        (b"junk", "a.txt.gz", r"a\.txt\.gz holds no line of two numbers"),
        (gzip.compress(b"1 2\n" * 99)[:25], "a.txt.gz", r"a\.txt\.gz is truncated after line 0"),
        (gzip.compress(b"1 2\n" * 99)[:10] + b"\xff" * 40, "a.txt.gz", r"a\.txt\.gz is truncated after line 0"),
        (
            b"a b\nc d\n",
            "a.txt",
            r"a\.txt holds no usable row; a\.txt: 2 rows .*",
        ),
    ],
    ids=["empty", "blank", "no-text", "no-gzip", "cut", "corrupt", "no-numbers"],
)
def test_an_unusable_file_is_named_in_one_line(tmp_path: Path, data: bytes, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_pairs({"train": put(tmp_path, data, name)})
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.txt does not exist"):
        read_pairs({"train": put(tmp_path, "0 1\n"), "test": tmp_path / "nowhere.txt"})


words = st.sampled_from(["0", "3", "12", "-1", "x", "1.0", "99999999999999999999", "é"])


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(words, max_size=3), max_size=12), st.integers(0, 13))
def test_every_line_is_kept_or_counted(tmp_path: Path, lines: list[list[str]], offset: int) -> None:
    path = put(tmp_path, "\n".join(" ".join(line) for line in lines))
    try:
        data = read_pairs({"train": path}, item_offset=offset)
    except DataError as error:
        assert str(error).startswith(str(path))  # noqa: PT017 - whether it raises depends on the lines
        return
    assert len(data.interactions) + sum(entry.count for entry in data.row_report) == sum(map(bool, lines))
    good = [line for line in lines if len(line) == 2 and all(word in ("0", "3", "12") for word in line)]
    kept = [(line[0], str(int(line[1]) - offset), "train") for line in good if int(line[1]) >= offset]
    assert data.interactions.rows() == kept


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=30) | st.text(alphabet="01 \n\r\t-x\u2028", max_size=30).map(str.encode), st.booleans())
def test_no_file_raises_anything_but_our_errors(tmp_path: Path, data: bytes, zipped: bool) -> None:
    path = put(tmp_path, data, "a.txt.gz" if zipped else "a.txt")
    try:
        assert len(read_pairs({"train": path}).interactions) > 0
    except HardnegError as error:
        assert path.name in str(error)  # noqa: PT017 - whether it raises depends on the bytes
