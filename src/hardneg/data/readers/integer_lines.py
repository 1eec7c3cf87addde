"""Lines of whole numbers between white space, a common format of released splits."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from hardneg.data.readers.delimited import LineDecoder
from hardneg.data.readers.line_blocks import detect_encoding, read_line_blocks
from hardneg.data.readers.text_format import WHITESPACE, TextFormat
from hardneg.data.row_report import RowCounter
from hardneg.errors import DataError


def read_words(path: Path, counter: RowCounter) -> pl.DataFrame:
    """Read text, plain or gzip, into columns line (from 1) and words (list of strings), without blank lines."""
    encoding = detect_encoding(path)
    TextFormat(WHITESPACE, encoding=encoding).describe(counter.file(path.name))
    decoder = LineDecoder(path, counter, encoding)
    words = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars().str.split(" ").alias("words")
    frames = []
    for block in read_line_blocks(path):
        frame = pl.DataFrame([decoder.decode(block)]).with_row_index("line", offset=block.first)
        frames.append(frame.filter(pl.col("text").str.strip_chars() != "").select("line", words))
    decoder.finish()
    lines = pl.concat(frames)
    if lines.is_empty():
        reasons = "; ".join(map(str, counter.row_report)) or "it is blank"
        raise DataError(f"{path} holds no line of text ({reasons}), expected lines of whole numbers; check the file")
    return lines


def parse_integers(frame: pl.DataFrame, columns: tuple[str, ...], path: Path, counter: RowCounter) -> pl.DataFrame:
    """Cast string columns to whole numbers >= 0; other rows are left out and counted."""
    numbers = frame.with_columns(pl.col(name).cast(pl.Int64, strict=False).alias(f"_{name}") for name in columns)
    numbers = numbers.with_columns(pl.concat_str(columns, separator=" ").alias("text"))
    bad = pl.any_horizontal(pl.col(f"_{name}").fill_null(-1) < 0 for name in columns)
    reason = "with values that are not whole numbers from 0"
    numbers = counter.drop(numbers, bad, path.name, reason, "line {line}: {text!r}")
    if numbers.is_empty():
        raise DataError(f"{path} holds no usable row; {'; '.join(map(str, counter.row_report))}")
    return numbers.select("line", *(pl.col(f"_{name}").alias(name) for name in columns))
