"""JSON lines: what is read, and that a bad line costs that line."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.dataset import ROW
from hardneg.data.readers import line_blocks as module
from hardneg.data.readers.jsonlines import json_columns, json_objects
from hardneg.data.row_report import RowCounter

FIELDS = ("user", "stars")


def put(folder: Path, data: bytes, name: str = "a.json") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def read(path: Path) -> tuple[list[tuple[Any, ...]], list[tuple[str, int, str]]]:
    counter = RowCounter()
    frame = pl.concat(list(json_columns(path, FIELDS, counter)))
    assert frame.schema == {ROW: pl.UInt32, "user": pl.String, "stars": pl.String}
    return frame.rows(), [(entry.where, entry.count, entry.first) for entry in counter.row_report]


def test_fields_are_strings_and_null_if_missing(tmp_path: Path) -> None:
    lines = [
        {"user": "a", "stars": 5.0, "other": [1, {"x": None}]},
        {"stars": "five", "user": 7},
        {"user": None},
        {"user": "\u2028é\n", "stars": 1504271148000},
        {"user": ["x"], "stars": True},
    ]
    path = put(tmp_path, "\n".join(json.dumps(line) for line in lines).encode())
    rows, said = read(path)
    assert rows == [
        (1, "a", "5"),
        (2, "7", "five"),
        (3, None, None),
        (4, "\u2028é\n", "1504271148000"),
        (5, '["x"]', "true"),
    ]
    assert said == []


BAD = [
    b"not json",
    b"{'user': 'a'}",
    b'{"user": "a"',
    b'{"user": "a}',
    b'{"user": "a"} x',
    b'{"user": "a"},',
    b'{"user": "a"}{"user": "b"}',
    b'["user"]',
    b"5",
    b"null",
    b'"user"',
    b'{"user": NaN}',
    b'{"stars": 1e999}',
    b'{"user": "\xff"}',
    b'{"user": "a\x00"}',
    b"\x00",
    b"[" * 3000,
    b'{"user": ' + b"[" * 3000 + b"]" * 3000 + b"}",
    b"{" * 100_000,
]


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_only_a_bad_line_is_left_out_and_reported(tmp_path: Path, bad: bytes) -> None:
    good = b'{"user": "a", "stars": 1}\n'
    path = put(tmp_path, good + b"\r\n" + good + bad + b"\n" + good + bad + b"\n")
    rows, ((where, count, first),) = read(path)
    assert rows == [(1, "a", "1"), (3, "a", "1"), (5, "a", "1")]
    assert (where, count, first[:8]) == ("a.json", 2, "line 4: ")
    assert len(first) < 200


lines = st.one_of(
    st.sampled_from(BAD[:16]),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
    st.text(alphabet='{}[]":,ab1\\ ', max_size=12).map(str.encode),
    st.fixed_dictionaries({"user": st.text(max_size=5), "stars": st.integers(0, 5)}).map(
        lambda row: json.dumps(row).encode()
    ),
)


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_line_that_begins_like_a_compressed_file_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    packed = pack(b'{"user": "inside"}').replace(b"\n", b"")
    rows, ((_, count, first),) = read(put(tmp_path, b'{"user": "a"}\n' + packed + b'\n{"user": "b"}\n'))
    assert rows == [(1, "a", None), (3, "b", None)]
    assert (count, first[:7]) == (1, "line 2:")


def finite(text: str) -> float:
    if text in ("NaN", "Infinity", "-Infinity") or math.isinf(float(text)):
        raise ValueError(text)
    return float(text)


def slow(line: bytes) -> tuple[str | None, str | None] | None:
    """What the standard library makes of a line; None where it is no object of JSON."""
    try:
        found = json.loads(line.decode(), parse_constant=finite, parse_float=finite)
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    user, stars = found.get("user"), found.get("stars")
    return user, None if stars is None else str(stars)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, max_size=12), st.integers(1, 200))
def test_only_garbage_lines_are_left_out_for_any_block_size(tmp_path: Path, some: list[bytes], size: int) -> None:
    some = [b'{"user": "first"}', *some]  # what begins like gzip is gzip
    path = put(tmp_path, b"\n".join(some) + b"\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        counter = RowCounter()
        frame = pl.concat(list(json_columns(path, FIELDS, counter)))
    written = [(n, line) for n, line in enumerate(path.read_bytes().split(b"\n"), 1) if line.strip()]
    expected = [(n, *found) for n, line in written if (found := slow(line)) is not None]
    assert frame.rows() == expected
    assert sum(entry.count for entry in counter.row_report) == len(written) - len(expected)
    if counter.row_report:
        first = next(n for n, line in written if slow(line) is None)
        assert counter.row_report[0].first.startswith(f"line {first}: ")


def test_objects_come_with_their_lines(tmp_path: Path) -> None:
    path = put(tmp_path, b'{"a": [1, {"b": null}]}\n\n[]\n{"a": 2}\n{' + b"[" * 100_000 + b"\n")
    counter = RowCounter()
    (block,) = json_objects(path, counter)
    assert block == [(1, {"a": [1, {"b": None}]}), (4, {"a": 2})]
    (entry,) = counter.row_report
    assert entry.count == 2
    assert entry.first == "line 3: '[]'"


def test_python_literals_are_read_only_on_request_and_reported(tmp_path: Path) -> None:
    path = put(
        tmp_path,
        b"{'a': u'it\\'s', 'b': [['x', 'y']], 'c': None}\n"
        b'{"a": "json"}\n'
        b"{'a': __import__('os').getcwd()}\n"
        b"['a']\n"
        b"{'a': " + b"(" * 5000 + b"\n{'a': {[]: 1}}\n",
    )
    counter = RowCounter()
    (block,) = json_objects(path, counter, literals=True)
    assert block == [(1, {"a": "it's", "b": [["x", "y"]], "c": None}), (2, {"a": "json"})]
    assert [(entry.where, entry.count, entry.first) for entry in counter.row_report] == [
        ("a.json", 4, "line 3: \"{'a': __import__('os').getcwd()}\""),
        ("a.json", 1, "line 1: \"{'a': u'it\\\\'s', 'b': [['x', 'y']], 'c': None}\""),
    ]
    strict = RowCounter()
    assert list(json_objects(path, strict)) == [[(2, {"a": "json"})]]
    assert strict.row_report[0].count == 5
