"""Large files of text as blocks of whole lines in UTF-8, plain or gzip, in bounded memory."""

from __future__ import annotations

import codecs
import gzip
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from hardneg.data.row_report import LEFT_OUT, RowCounter, RowIssue
from hardneg.errors import ConfigError, DataError
from hardneg.types import Progress

BLOCK_BYTES = 2**23
"""Bytes of text per block."""
MAX_LINE_BYTES = 2**26
"""Maximum number of bytes of a line."""
HEAD_BYTES = 2**16
"""Maximum number of bytes that decide the encoding and the line ends."""
GZIP = b"\x1f\x8b\x08"
BYTE_ORDER_MARK = codecs.BOM_UTF8
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32",  # begins with the mark of UTF-16
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order mark -> encoding."""
UTF_8 = "utf-8"
MOSTLY = 10
"""Carriage returns end the lines of a file that has this many times more of them than of line feeds."""
SHOWN_CHARACTERS = 60
"""Characters of a bad line that the row report shows."""


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


def read_line_blocks(path: Path, progress: Progress | None = None, encoding: str | None = None) -> Iterator[Block]:
    r"""Yield the file in blocks of about BLOCK_BYTES of UTF-8. Gzip is recognised by the first bytes, not by the name.

    encoding: None for UTF-8 or what a byte order mark says, which is passed over. Of another encoding, bytes that it
    does not define become bytes that UTF-8 does not. Lines end with \n, \r\n or, if nearly all of them do, \r.
    progress: called with the number of lines read and an estimate of their total, which is exact at the end. Raises
    DataError if the file is missing, empty or a truncated gzip file.
    """
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    file_size, first = path.stat().st_size, 1
    with path.open("rb", HEAD_BYTES) as raw:
        chunks = _split_at_line_ends(_read_text(raw, encoding), path)
        while True:
            try:
                data = next(chunks, None)
            except (OSError, EOFError, zlib.error) as error:
                raise DataError(
                    f"{path} is truncated after line {first - 1:,} ({error}); download the file again"
                ) from None
            if data is None:
                break
            block = Block(first, data)
            yield block
            first += block.n_lines
            if progress is not None:
                progress(f"reading {path.name}", first - 1, round((first - 1) * max(file_size / max(raw.tell(), 1), 1)))
    if first == 1:
        raise DataError(f"{path} is empty, expected one row per line; check the file")


def detect_encoding(path: Path) -> str:
    """Return the encoding that a byte order mark says, else UTF-8; also for files that `read_line_blocks` refuses."""
    try:
        with path.open("rb", HEAD_BYTES) as raw:
            return _encoding_of(_peek(_unzip(raw)))
    except (OSError, EOFError, zlib.error):
        return UTF_8


def require_encoding(name: str) -> str:
    """Return the usual name of an encoding. Raises ConfigError if there is none of this name."""
    try:
        b"text".decode(name, "ignore")
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        raise ConfigError(
            f"found --encoding {name}, expected one that Python knows, such as latin-1 or cp1252"
        ) from None


def _read_text(raw: IO[bytes], encoding: str | None) -> Iterator[bytes]:
    """Yield the bytes of a file in UTF-8 and with line feeds, without its byte order mark."""
    file = _unzip(raw)
    head = _peek(file)
    encoding = encoding or _encoding_of(head)
    chunks: Iterable[bytes] = iter(lambda: file.read(BLOCK_BYTES), b"")
    if head.startswith(BYTE_ORDER_MARK):
        file.read(len(BYTE_ORDER_MARK))
    if encoding != UTF_8:
        chunks, head = _transcode(chunks, encoding), b"".join(_transcode([head], encoding))
    n_feeds, n_returns = head.count(b"\n"), head.count(b"\r") - head.count(b"\r\n")
    if n_returns > MOSTLY * n_feeds:
        chunks = (chunk.replace(b"\r", b"\n") for chunk in chunks)
    for number, chunk in enumerate(chunks):
        yield chunk if number else chunk.removeprefix(BYTE_ORDER_MARK)


def _unzip(raw: IO[bytes]) -> IO[bytes]:
    return gzip.GzipFile(fileobj=raw) if _peek(raw).startswith(GZIP) else raw  # type: ignore[return-value]


def _peek(file: IO[bytes]) -> bytes:
    head: bytes = file.peek(HEAD_BYTES)  # type: ignore[attr-defined]
    return head


def _encoding_of(head: bytes) -> str:
    return next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), UTF_8)


def _transcode(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(_MARK_UNDEFINED)
    for chunk in chunks:
        yield decoder.decode(chunk).encode(UTF_8, "surrogatepass")
    yield decoder.decode(b"", final=True).encode(UTF_8, "surrogatepass")


def _mark_undefined(error: UnicodeError) -> tuple[str, int]:
    """Replace undefined bytes by a surrogate, which valid UTF-8 never holds."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


_MARK_UNDEFINED = "hardneg.mark_undefined"
codecs.register_error(_MARK_UNDEFINED, _mark_undefined)


def _split_at_line_ends(chunks: Iterable[bytes], path: Path) -> Iterator[bytes]:
    """Yield the bytes of the file, each piece ending with a line."""
    rest = b""
    for data in chunks:
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


def count_lines(
    counter: RowCounter, path: Path, reason: str, bad: list[tuple[int, bytes]], remedy: str = LEFT_OUT
) -> None:
    """Report bad lines, with the number and the beginning of the first."""
    if bad:
        number, line = bad[0]
        first = f"line {number}: {show(line[: 4 * SHOWN_CHARACTERS].decode(errors='replace'))}"
        counter.add(RowIssue(path.name, reason, len(bad), first, remedy))


def show(line: str) -> str:
    """Return the beginning of a line for the row report."""
    return repr(line[:SHOWN_CHARACTERS])
