"""Lines of fields between separators, block by block, as columns of text. Nothing is quoted in these formats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.readers.line_blocks import SHOWN, decoded_lines, read_line_blocks
from hardneg.data.row_report import RowCounter, RowIssue
from hardneg.types import Progress

SPACES = " "
"""As a separator: any run of white space."""


def delimited_columns(
    path: Path,
    names: tuple[str, ...],
    separator: str,
    tally: RowCounter,
    progress: Progress | None = None,
    *,
    header: bool = False,
) -> Iterator[pl.DataFrame]:
    """A frame a block: the line number (ROW) and a column a name; a line of more or fewer fields is left out.

    header: the first line is none of the rows.
    """
    for block in read_line_blocks(path, progress):
        numbers, lines = decoded_lines(block, path, tally)
        frame = pl.DataFrame({ROW: numbers, "text": lines}, schema={ROW: pl.UInt32, "text": pl.String})
        if header:
            frame = frame.filter(pl.col(ROW) > 1)
        yield _divided(frame, names, separator, path, tally)


def _divided(
    frame: pl.DataFrame, names: tuple[str, ...], separator: str, path: Path, tally: RowCounter
) -> pl.DataFrame:
    text = pl.col("text").str.replace_all(r"\s+", SPACES).str.strip_chars() if separator == SPACES else pl.col("text")
    frame = frame.with_columns(text.str.split(separator).alias("fields"))
    fits = pl.col("fields").list.len() == len(names)
    wrong = frame.filter(~fits)
    if not wrong.is_empty():
        number, line = wrong.select(ROW, "text").row(0)
        first, reason = f"line {number}: {line[:SHOWN]!r}", f"of something else than {len(names)} fields"
        tally.add(RowIssue(path.name, reason, len(wrong), first, "they were left out"))
    fields = (pl.col("fields").list.get(place).alias(name) for place, name in enumerate(names))
    return frame.filter(fits).select(ROW, *fields)


def first_line(path: Path) -> str:
    """The header of a file that has one."""
    block = next(read_line_blocks(path))
    return block.data.split(b"\n", 1)[0].removesuffix(b"\r").decode(errors="replace")
