"""Delimited lines without quoting, read block by block as string columns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.readers.line_blocks import SHOWN_CHARACTERS, decode_lines, read_line_blocks
from hardneg.data.row_report import RowCounter, drop_rows
from hardneg.types import Progress

WHITESPACE = " "
"""Separator that stands for any run of white space."""


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
    for block in read_line_blocks(path, progress):
        numbers, lines = decode_lines(block, path, counter)
        frame = pl.DataFrame({ROW: numbers, "text": lines}, schema={ROW: pl.UInt32, "text": pl.String})
        if header:
            frame = frame.filter(pl.col(ROW) > 1)
        yield _split_fields(frame, names, separator, path, counter)


def _split_fields(
    frame: pl.DataFrame, names: tuple[str, ...], separator: str, path: Path, counter: RowCounter
) -> pl.DataFrame:
    text = (
        pl.col("text").str.replace_all(r"\s+", WHITESPACE).str.strip_chars()
        if separator == WHITESPACE
        else pl.col("text")
    )
    frame = frame.with_columns(text.str.split(separator).alias("fields"))
    frame = frame.with_columns(pl.col("text").str.head(SHOWN_CHARACTERS))
    wrong_number = pl.col("fields").list.len() != len(names)
    reason, first = f"without exactly {len(names)} fields", f"line {{{ROW}}}: {{text!r}}"
    frame, issues = drop_rows(frame, wrong_number, path.name, reason, first)
    counter.add(*issues)
    return frame.select(ROW, *(pl.col("fields").list.get(place).alias(name) for place, name in enumerate(names)))


def read_header_line(path: Path) -> str:
    """Return the first line of a file."""
    block = next(read_line_blocks(path))
    return block.data.split(b"\n", 1)[0].removesuffix(b"\r").decode(errors="replace")
