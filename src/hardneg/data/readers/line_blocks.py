"""Large files as blocks of whole lines, plain or gzip, so that memory does not grow with the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from hardneg.data.row_report import RowCounter, RowIssue
from hardneg.errors import DataError
from hardneg.types import Progress

SIZE = 2**23
"""Bytes of text that are looked at at once."""
LONGEST = 2**26
"""Bytes of a line that nobody means as a row."""
GZIP, BYTE_ORDER_MARK = b"\x1f\x8b\x08", b"\xef\xbb\xbf"
SHOWN = 60
"""Characters of a bad line that its entry shows."""


@dataclass(frozen=True)
class Block:
    """Some whole lines: the number of the first of them, from 1, and their bytes."""

    first: int
    data: bytes

    @cached_property
    def n_lines(self) -> int:
        """How many lines, blank ones included; the last may lack its newline."""
        return self.data.count(b"\n") + (not self.data.endswith(b"\n"))

    def lines(self) -> list[tuple[int, bytes]]:
        """(number, line) of the lines that are not blank, without their line ends."""
        lines = enumerate((line.removesuffix(b"\r") for line in self.data.split(b"\n")), self.first)
        return [(number, line) for number, line in lines if line.strip()]


def read_line_blocks(path: Path, progress: Progress | None = None) -> Iterator[Block]:
    """The file in order, SIZE bytes at a time; whether it is gzip its first bytes tell, not its name.

    progress: called with the lines read and an estimate of all lines, which is their number when the end is reached.
    Raises DataError where the file is missing or empty, or breaks off inside gzip, with the line where it does.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    whole, first = path.stat().st_size, 1
    with path.open("rb") as raw:
        file: IO[bytes] = gzip.GzipFile(fileobj=raw) if raw.peek(3).startswith(GZIP) else raw  # type: ignore[assignment]
        pieces = _pieces(file, path)
        while True:
            try:
                data = next(pieces, None)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(f"{path} breaks off after line {first - 1:,} ({error}); get the file again") from None
            if data is None:
                break
            block = Block(first, data.removeprefix(BYTE_ORDER_MARK) if first == 1 else data)
            yield block
            first += block.n_lines
            if progress is not None:
                progress(f"reading {path.name}", first - 1, round((first - 1) * max(whole / max(raw.tell(), 1), 1)))
    if first == 1:
        raise DataError(f"{path} is empty, expected lines of rows; check the file")


def _pieces(file: IO[bytes], path: Path) -> Iterator[bytes]:
    """Bytes up to the end of a line, again and again."""
    rest = b""
    while data := file.read(SIZE):
        end = data.rfind(b"\n") + 1
        if end:
            yield rest + data[:end]
            rest = data[end:]
        else:
            rest += data
            if len(rest) > LONGEST:
                raise DataError(
                    f"{path} has a line of more than {LONGEST // 2**20} MiB, expected a row a line; is it one JSON array?"
                )
    if rest:
        yield rest


def decoded_lines(
    block: Block, path: Path, tally: RowCounter, *, or_latin: bool = False
) -> tuple[list[int], list[str]]:
    """Numbers and texts of the block's lines; a line that is no UTF-8 is left out, or, with or_latin, read as Latin-1."""
    lines = block.lines()
    try:
        return [number for number, _ in lines], [line.decode() for _, line in lines]
    except UnicodeDecodeError:
        decoded = [(number, _decoded(line, or_latin=or_latin), line) for number, line in lines]
    count_line_blocks(
        tally, path, "without UTF-8 text", [(number, line) for number, text, line in decoded if text is None]
    )
    good = [(number, text) for number, text, _ in decoded if text is not None]
    return [number for number, _ in good], [text for _, text in good]


def _decoded(line: bytes, *, or_latin: bool) -> str | None:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1") if or_latin else None


def count_line_blocks(
    tally: RowCounter, path: Path, reason: str, bad: list[tuple[int, bytes]], remedy: str = "they were left out"
) -> None:
    """Enter lines into the tally, the first of them with its number and how it begins."""
    if bad:
        number, line = bad[0]
        first = f"line {number}: {line[: 4 * SHOWN].decode(errors='replace')[:SHOWN]!r}"
        tally.add(RowIssue(path.name, reason, len(bad), first, remedy))
