"""JSON lines, block by block: flat fields as string columns, or whole objects and their values as text.

polars parses whole blocks, about a million rows a second. If it rejects a block, its lines are parsed one by one, so
that only bad lines are left out. Fuzz tests found no line that polars accepts and the standard library rejects, so the
kept lines do not depend on the other lines of a block.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.importing import StreamedDataset
from hardneg.data.readers.line_blocks import Block, count_lines, detect_encoding, read_line_blocks
from hardneg.data.readers.time_column import TimeColumn
from hardneg.data.readers.typed_columns import type_interactions, type_items
from hardneg.data.row_report import RowCounter
from hardneg.data.times import TimeFormat
from hardneg.types import Progress

NO_OBJECT = "without a JSON object"
LITERAL = "written as Python literals instead of JSON"


def open_json(
    reviews: Path,
    items: Path | None,
    fields: Mapping[str, str],
    convert: Callable[[dict[str, Any]], dict[str, str]],
    time_format: TimeFormat,
    *,
    texts: tuple[str, ...] = (),
    literals: bool = False,
) -> StreamedDataset:
    """Open JSON lines of reviews and, optionally, of items.

    fields: our name -> theirs, for ids, rating and timestamp. texts: their fields that make up a review, each on a line
    of its own. convert: returns item_id and text columns of an item. literals: see `json_objects`.
    """

    used = {**fields, **({c.REVIEW: " and ".join(texts)} if texts else {})}

    def read_columns(counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        note_fields(counter, reviews, used, (*fields.values(), *texts))
        for frame in json_columns(reviews, (*fields.values(), *texts), counter, progress):
            not_blank = [pl.when(pl.col(text).str.strip_chars() != "").then(pl.col(text)) for text in texts]
            review = [pl.concat_str(not_blank, separator="\n", ignore_nulls=True).alias(c.REVIEW)] if texts else []
            yield frame.select(ROW, *(pl.col(theirs).alias(ours) for ours, theirs in fields.items()), *review)

    def read_reviews(counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        times, id_names = TimeColumn(reviews, counter, time_format), f"{fields[c.USER_ID]} or {fields[c.ITEM_ID]}"
        return type_interactions(read_columns(counter, progress), reviews, counter, times, id_names=id_names)

    def read_items(path: Path, counter: RowCounter, progress: Progress | None) -> Iterator[pl.DataFrame]:
        note_fields(counter, path, {}, ())
        for block in json_objects(path, counter, progress, literals=literals):
            yield type_items([(number, convert(record)) for number, record in block], path, counter)

    return StreamedDataset(read_reviews, partial(read_items, items) if items else None, items)


def note_fields(counter: RowCounter, path: Path, columns: dict[str, str], used: tuple[str, ...]) -> None:
    """Note the encoding, our name -> theirs, and the other fields of the first object, if any fields are `used`."""
    summary = counter.file(path.name)
    summary.encoding, summary.columns = detect_encoding(path), columns
    if used:
        objects = (_parse_object(line, json.loads) for _, line in next(read_line_blocks(path)).lines())
        summary.unused = [name for name in next(filter(None, objects), {}) if name not in used]


def json_columns(
    path: Path, fields: tuple[str, ...], counter: RowCounter, progress: Progress | None = None
) -> Iterator[pl.DataFrame]:
    """Yield one frame per block: the line number (ROW) and the named fields as strings, null if missing.

    Numbers are spelled out and nested values are JSON; the caller checks their types.
    """
    for block in read_line_blocks(path, progress):
        frame = _parse(block.data, fields)
        if frame is not None and len(frame) == block.n_lines:
            yield frame.with_row_index(ROW, offset=block.first)
        else:
            yield _parse_line_by_line(block, fields, path, counter)


def _parse(data: bytes, fields: tuple[str, ...]) -> pl.DataFrame | None:
    """Return the fields, or None if polars rejects a line."""
    try:
        # The blank line keeps polars from decompressing data that begin like a compressed file.
        return pl.read_ndjson(b"\n" + data, schema=dict.fromkeys(fields, pl.String))
    except pl.exceptions.PolarsError:
        return None


def _parse_line_by_line(block: Block, fields: tuple[str, ...], path: Path, counter: RowCounter) -> pl.DataFrame:
    lines = block.lines()
    frames = _parse_valid(
        [(number, line) for number, line in lines if _parse_object(line, json.loads) is not None], fields
    )
    empty = pl.DataFrame(schema={ROW: pl.UInt32, **dict.fromkeys(fields, pl.String)})
    frame = pl.concat([empty, *frames])
    good = set(frame[ROW].to_list())
    count_lines(counter, path, NO_OBJECT, [(number, line) for number, line in lines if number not in good])
    return frame


def _parse_valid(lines: list[tuple[int, bytes]], fields: tuple[str, ...]) -> list[pl.DataFrame]:
    """Return frames of the lines that polars accepts, by bisection: only the standard library accepts NaN and Infinity."""
    frame = _parse(b"\n".join(line for _, line in lines), fields)
    if frame is not None and len(frame) == len(lines):
        return [frame.insert_column(0, pl.Series(ROW, [number for number, _ in lines], pl.UInt32))]
    half = len(lines) // 2
    return _parse_valid(lines[:half], fields) + _parse_valid(lines[half:], fields) if half else []


def json_objects(
    path: Path, counter: RowCounter, progress: Progress | None = None, *, literals: bool = False
) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """Yield one list per block of (line number, object), for rows with nested or varying fields.

    literals: also read lines that are Python literals (never evaluated as code), and report them.
    """
    for block in read_line_blocks(path, progress):
        records, bad, literal = [], [], []
        for number, line in block.lines():
            record = _parse_object(line, json.loads)
            if record is None and literals:
                record = _parse_object(line, ast.literal_eval)
                literal += [(number, line)] * (record is not None)
            if record is None:
                bad.append((number, line))
            else:
                records.append((number, record))
        count_lines(counter, path, NO_OBJECT, bad)
        count_lines(counter, path, LITERAL, literal, "they were read as such")
        yield records


def _parse_object(line: bytes, parse: Callable[[str], Any]) -> dict[str, Any] | None:
    try:
        value = parse(line.decode())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def json_string(value: Any) -> str:
    """Return a value as a string: blank for null, `?` for an unpaired surrogate."""
    text = "" if value is None else str(value).strip()
    return text if text.isascii() else text.encode(errors="replace").decode()


def join_texts(value: Any, separator: str = ", ") -> str:
    """Join the distinct texts in nested lists, in order: `[["Toys", "Kites"], ["Toys"]]` becomes `Toys, Kites`."""
    return separator.join(dict.fromkeys(text for text in _flatten(value) if text))


def list_values(value: Any) -> list[str]:
    """Convert `{"Colour": "red", "Sizes": ["S", "M"]}` to `["Colour: red", "Sizes: S, M"]`, without empty entries."""
    if not isinstance(value, dict):
        return [json_string(value)]
    texts = {json_string(name): join_texts(entry) for name, entry in value.items()}
    return [f"{name}: {text}" for name, text in texts.items() if text]


def _flatten(value: Any) -> Iterator[str]:
    if isinstance(value, list | tuple):
        for entry in value:
            yield from _flatten(entry)
    elif isinstance(value, dict):
        yield from list_values(value)
    else:
        yield json_string(value)
