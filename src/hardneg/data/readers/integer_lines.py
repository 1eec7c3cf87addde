"""Lines of whole numbers between white space, a common format of released splits."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import polars as pl

from hardneg.data.row_report import RowReport, drop_rows
from hardneg.errors import DataError


def read_lines(path: Path) -> pl.DataFrame:
    """Read `.txt` or `.txt.gz` into columns line (from 1) and words (list of strings), without blank lines."""
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path")
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read as text ({error}); check the file") from None
    lines = pl.DataFrame({"text": text.splitlines()}, schema={"text": pl.String}).with_row_index("line", offset=1)
    words = pl.col("text").str.replace_all(r"\s+", " ").str.strip_chars().str.split(" ").alias("words")
    lines = lines.filter(pl.col("text").str.strip_chars() != "").select("line", words)
    if lines.is_empty():
        raise DataError(f"{path} is empty, expected lines of whole numbers; check the file")
    return lines


def parse_integers(frame: pl.DataFrame, columns: tuple[str, ...], path: Path) -> tuple[pl.DataFrame, RowReport]:
    """Cast string columns to whole numbers >= 0; other rows are left out and reported."""
    numbers = frame.with_columns(pl.col(name).cast(pl.Int64, strict=False).alias(f"_{name}") for name in columns)
    numbers = numbers.with_columns(pl.concat_str(columns, separator=" ").alias("text"))
    bad = pl.any_horizontal(pl.col(f"_{name}").fill_null(-1) < 0 for name in columns)
    reason = "with values that are not whole numbers from 0"
    numbers, row_report = drop_rows(numbers, bad, path.name, reason, "line {line}: {text!r}")
    if numbers.is_empty():
        raise DataError(f"{path} holds no usable row; {row_report[0]}")
    return numbers.select("line", *(pl.col(f"_{name}").alias(name) for name in columns)), row_report
