"""Large files as blocks of whole lines, plain or gzip, in bounded memory, and delimited lines as string columns."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.row_report import LEFT_OUT, RowCounter, RowIssue
from hardneg.errors import DataError
from hardneg.types import Progress

BLOCK_BYTES = 2**23
"""Bytes of text per block."""
MAX_LINE_BYTES = 2**26
"""Maximum number of bytes of a line."""
GZIP, BYTE_ORDER_MARK = b"\x1f\x8b\x08", b"\xef\xbb\xbf"
SHOWN_CHARACTERS = 60
"""Characters of a bad line that the row report shows."""
WHITESPACE = " "
"""Separator that stands for any run of white space."""


@dataclass(frozen=True)
class Block:
    """Whole lines: the number of the first line, counted from 1, and the bytes."""

    first: int
    data: bytes

    @cached_property
    def n_lines(self) -> int:
        """Number of lines, blank ones included; the last may lack its newline."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def lines(self) -> list[tuple[int, bytes]]:
        """Return (number, line) of all lines that are not blank, without line ends."""
        lines = enumerate((line.removesuffix(b"\r") for line in self.data.split(b"\n")), self.first)
        return [(number, line) for number, line in lines if line.strip()]


def read_line_blocks(path: Path, progress: Progress | None = None) -> Iterator[Block]:
    """Yield the file in blocks of about BLOCK_BYTES. Gzip is recognised by the first bytes, not by the name.

    progress: called with the number of lines read and an estimate of their total, which is exact at the end. Raises
    DataError if the file is missing, empty or a truncated gzip file.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    file_size, first = path.stat().st_size, 1
    with path.open("rb") as raw:
        file: IO[bytes] = gzip.GzipFile(fileobj=raw) if raw.peek(3).startswith(GZIP) else raw  # type: ignore[assignment]
        chunks = _split_at_line_ends(file, path)
        while True:
            try:
                data = next(chunks, None)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(
                    f"{path} is truncated after line {first - 1:,} ({error}); download the file again"
                ) from None
            if data is None:
                break
            block = Block(first, data.removeprefix(BYTE_ORDER_MARK) if first == 1 else data)
            yield block
            first += block.n_lines
            if progress is not None:
                progress(f"reading {path.name}", first - 1, round((first - 1) * max(file_size / max(raw.tell(), 1), 1)))
    if first == 1:
        raise DataError(f"{path} is empty, expected one row per line; check the file")


def _split_at_line_ends(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Yield the bytes of the file, each piece ending with a line."""
    rest = b""
    while data := file.read(BLOCK_BYTES):
        end = data.rfind(b"\n") + 1
        if end:
            yield rest + data[:end]
            rest = data[end:]
        else:
            rest += data
            if len(rest) > MAX_LINE_BYTES:
                raise DataError(
                    f"{path} has a line of more than {MAX_LINE_BYTES // 2**20} MiB, expected one row per line; is it one JSON array?"
                )
    if rest:
        yield rest


def decode_lines(
    block: Block, path: Path, counter: RowCounter, *, or_latin: bool = False
) -> tuple[list[int], list[str]]:
    """Return the numbers and texts of a block's lines.

    A line that is not UTF-8 is left out or, with or_latin, read as Latin-1.
    """
    lines = block.lines()
    try:
        return [number for number, _ in lines], [line.decode() for _, line in lines]
    except UnicodeDecodeError:
        decoded = [(number, _decode(line, or_latin=or_latin), line) for number, line in lines]
    bad = [(number, line) for number, text, line in decoded if text is None]
    count_lines(counter, path, "without UTF-8 text", bad)
    good = [(number, text) for number, text, _ in decoded if text is not None]
    return [number for number, _ in good], [text for _, text in good]


def _decode(line: bytes, *, or_latin: bool) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1") if or_latin else None


def count_lines(
    counter: RowCounter, path: Path, reason: str, bad: list[tuple[int, bytes]], remedy: str = LEFT_OUT
) -> None:
    """Report bad lines, with the number and the beginning of the first."""
    if bad:
        number, line = bad[0]
        first = f"line {number}: {line[: 4 * SHOWN_CHARACTERS].decode(errors='replace')[:SHOWN_CHARACTERS]!r}"
        counter.add(RowIssue(path.name, reason, len(bad), first, remedy))


def delimited_columns(
    path: Path,
    names: tuple[str, ...],
    separator: str,
    counter: RowCounter,
    progress: Progress | None = None,
    *,
    header: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield one frame per block: the line number (ROW) and one column per name.

    A line with another number of fields is left out. header: skip the first line.
    """
    text, fields = pl.col("text"), pl.col("fields").list
    words = text.str.replace_all(r"\s+", WHITESPACE).str.strip_chars() if separator == WHITESPACE else text
    reason, first = f"without exactly {len(names)} fields", f"line {{{ROW}}}: {{text!r}}"
    for block in read_line_blocks(path, progress):
        numbers, lines = decode_lines(block, path, counter)
        frame = pl.DataFrame({ROW: numbers, "text": lines}, schema={ROW: pl.UInt32, "text": pl.String})
        if header:
            frame = frame.filter(pl.col(ROW) > 1)
        frame = frame.select(ROW, text.str.head(SHOWN_CHARACTERS), words.str.split(separator).alias("fields"))
        frame = counter.drop(frame, fields.len() != len(names), path.name, reason, first)
        yield frame.select(ROW, *(fields.get(place).alias(name) for place, name in enumerate(names)))


def read_header_line(path: Path) -> str:
    """Return the first line of a file."""
    block = next(read_line_blocks(path))
    return block.data.split(b"\n", 1)[0].removesuffix(b"\r").decode(errors="replace")
