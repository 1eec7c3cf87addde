"""JSON lines, block by block: flat fields as columns of text, or whole objects one by one.

A block goes through polars at once, about a million rows a second. Where it refuses one, the lines are looked at by
themselves, so that a bad line costs that line and is named. Measured with fuzzed lines, polars accepts nothing that
the standard library's parser refuses, so what is kept does not depend on what else is in the block.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.readers.line_blocks import Block, count_line_blocks, read_line_blocks
from hardneg.data.row_report import RowCounter
from hardneg.types import Progress

Line = tuple[int, bytes]
NO_OBJECT = "without a JSON object"
LITERAL = "written as Python literals in place of JSON"


def json_columns(
    path: Path, fields: tuple[str, ...], tally: RowCounter, progress: Progress | None = None
) -> Iterator[pl.DataFrame]:
    """A frame a block: the line number (ROW) and the named fields as text, null where an object lacks one.

    A number is spelled as text and a nested value as JSON; what it should be is for the caller to ask.
    """
    for block in read_line_blocks(path, progress):
        frame = _columns(block.data, fields)
        if frame is not None and len(frame) == block.n_lines:
            yield frame.with_row_index(ROW, offset=block.first)
        else:
            yield _line_by_line(block, fields, path, tally)


def _columns(data: bytes, fields: tuple[str, ...]) -> pl.DataFrame | None:
    """None where polars finds anything that is no JSON object."""
    try:
        # Behind a blank line, since polars would unpack what begins like a compressed file.
        return pl.read_ndjson(b"\n" + data, schema=dict.fromkeys(fields, pl.String))
    except pl.exceptions.PolarsError:
        return None


def _line_by_line(block: Block, fields: tuple[str, ...], path: Path, tally: RowCounter) -> pl.DataFrame:
    lines = block.lines()
    kept = _salvaged([(number, line) for number, line in lines if _object(line) is not None], fields)
    none = pl.DataFrame(schema={ROW: pl.UInt32, **dict.fromkeys(fields, pl.String)})
    frame = pl.concat([none, *kept])
    good = set(frame[ROW].to_list())
    count_line_blocks(tally, path, NO_OBJECT, [(number, line) for number, line in lines if number not in good])
    return frame


def _salvaged(lines: list[Line], fields: tuple[str, ...]) -> list[pl.DataFrame]:
    """Frames of what polars reads, found by halving: NaN and infinite numbers pass the standard library alone."""
    frame = _columns(b"\n".join(line for _, line in lines), fields)
    if frame is not None and len(frame) == len(lines):
        return [frame.insert_column(0, pl.Series(ROW, [number for number, _ in lines], pl.UInt32))]
    half = len(lines) // 2
    return _salvaged(lines[:half], fields) + _salvaged(lines[half:], fields) if half else []


def json_objects(
    path: Path, tally: RowCounter, progress: Progress | None = None, *, literals: bool = False
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """A list a block: line number and object, for rows whose fields nest and differ.

    literals: a line that is no JSON may be a Python literal (never evaluated as code); such lines are read and counted.
    """
    for block in read_line_blocks(path, progress):
        read, bad, literal = [], [], []
        for number, line in block.lines():
            found = _object(line)
            if found is None and literals:
                found = _literal(line)
                literal += [(number, line)] * (found is not None)
            if found is None:
                bad.append((number, line))
            else:
                read.append((number, found))
        count_line_blocks(tally, path, NO_OBJECT, bad)
        count_line_blocks(tally, path, LITERAL, literal, "they were read as such")
        yield read


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _literal(line: bytes) -> dict[str, Any] | None:
    try:
        found = ast.literal_eval(line.decode())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
