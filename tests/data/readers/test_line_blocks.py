"""Files in blocks of whole lines."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hardneg.data.readers import line_blocks as module
from hardneg.data.readers.line_blocks import detect_encoding, read_line_blocks, require_encoding
from hardneg.errors import ConfigError, DataError


def put(folder: Path, data: bytes, name: str = "a.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.text(alphabet="ab ", max_size=9), min_size=1, max_size=12),
    st.integers(1, 40),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_blocks_hold_every_line_once_under_its_number(
    tmp_path: Path, lines: list[str], size: int, zipped: bool, ends: bool, end: str
) -> None:
    data = end.join(lines).encode() + end.encode() * ends
    path = put(tmp_path, gzip.compress(data) if zipped else data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK_BYTES", size)
        if not data:
            with pytest.raises(DataError, match="is empty"):
                list(read_line_blocks(path))
            return
        found = list(read_line_blocks(path))
    data = data.replace(b"\r", b"\n") if end == "\r" else data
    assert b"".join(block.data for block in found) == data
    assert sum(block.n_lines for block in found) == len(lines) - (not ends and not lines[-1])
    numbered = [pair for block in found for pair in block.lines()]
    expected = [(n, line.encode()) for n, line in enumerate(lines, 1)]
    assert numbered == [(n, line) for n, line in expected if line.strip()]


def test_a_byte_order_mark_is_removed(tmp_path: Path) -> None:
    one, two = read_line_blocks(put(tmp_path, b"\xef\xbb\xbfone\r\n\ntwo"))
    assert one.lines() + two.lines() == [(1, b"one"), (3, b"two")]
    assert (one.n_lines, two.n_lines) == (2, 1)


def test_gzip_is_recognised_by_its_bytes(tmp_path: Path) -> None:
    for name, data in (("a.json", gzip.compress(b"x\n")), ("a.json.gz", b"x\n"), ("b.gz", gzip.compress(b"x\n"))):
        assert [block.data for block in read_line_blocks(put(tmp_path, data, name))] == [b"x\n"]


def test_members_of_gzip_are_read_one_after_the_other(tmp_path: Path) -> None:
    (block,) = read_line_blocks(put(tmp_path, gzip.compress(b"x\n") + gzip.compress(b"y\n")))
    assert block.lines() == [(1, b"x"), (2, b"y")]


def test_a_truncated_file_is_reported_with_the_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 100)
    lines = "".join(f"{n * n * 7919 % 100003:09d}\n" for n in range(2000)).encode()
    whole = gzip.compress(lines)
    for data in (whole[: len(whole) // 2], whole[:-400] + b"\xff" * 400):
        path = put(tmp_path, data)
        read = read_line_blocks(path)
        assert next(read).data == lines[:100]
        with pytest.raises(DataError, match=r"a\.txt .* line [\d,]+ \(.*\)") as caught:
            list(read)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", gzip.compress(b"", mtime=0)], ids=["bare", "zipped"])
def test_an_empty_file_is_an_error(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.txt is empty"):
        list(read_line_blocks(put(tmp_path, data)))


def test_a_file_without_line_ends_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 2**20)
    monkeypatch.setattr(module, "MAX_LINE_BYTES", 2**21)
    path = put(tmp_path, gzip.compress(b"[" + b"{}," * 2**21))
    with pytest.raises(DataError, match=r"more than 2 MiB"):
        list(read_line_blocks(path))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.gz does not exist"):
        list(read_line_blocks(tmp_path / "nowhere.gz"))


def test_progress_counts_lines_and_its_estimate_ends_at_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", 1000)
    seen: list[tuple[str, int, int]] = []
    list(read_line_blocks(put(tmp_path, b"abcdefghi\n" * 1000), lambda *said: seen.append(said)))
    assert [done for _, done, _ in seen] == list(range(100, 1001, 100))
    assert all(what == "reading a.txt" for what, _, _ in seen)
    assert all(abs(total - 1000) < 500 and done <= total for _, done, total in seen)
    assert seen[-1][1:] == (1000, 1000)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_byte_order_mark_says_the_encoding(tmp_path: Path, encoding: str, pack: Callable[[bytes], bytes]) -> None:
    path = put(tmp_path, pack("a,ü\r\nb,€\n".encode(encoding)))
    assert b"".join(block.data for block in read_line_blocks(path)).decode() == "a,ü\r\nb,€\n"
    assert detect_encoding(path) == encoding.removesuffix("-sig")


@pytest.mark.parametrize("size", [3, 2**20])
def test_undefined_bytes_of_another_encoding_are_not_utf8(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    path = put(tmp_path, "Müller\n".encode("cp1252") + b"\x81\n" + "ß\n".encode("cp1252"))
    lines = b"".join(block.data for block in read_line_blocks(path, encoding="cp1252")).split(b"\n")
    assert [line.decode(errors="replace") for line in lines] == ["Müller", "\ufffd\ufffd\ufffd", "ß", ""]


def test_carriage_returns_alone_end_lines(tmp_path: Path) -> None:
    for data, second in ((b"a,b\r1,2\r3,4\r", b"1,2"), (b"a,b\n1,x\ry\n3,4\n", b"1,x\ry")):
        (block,) = read_line_blocks(put(tmp_path, data))
        assert block.lines() == [(1, b"a,b"), (2, second), (3, b"3,4")]


@pytest.mark.parametrize("name", ["latin", "base64", "no such", "x" * 99])
def test_an_unknown_encoding_is_refused(name: str) -> None:
    if name == "latin":
        assert require_encoding(name) == "iso8859-1"
        return
    with pytest.raises(ConfigError, match=f"found --encoding {name}, expected one that Python knows"):
        require_encoding(name)
