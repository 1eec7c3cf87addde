"""Delimited text as string columns, block by block, in bounded memory: the one way in which readers split lines.

The unit of damage is the row: a ragged row, a row with bytes that are not text, or one with a stray quote is left out and
counted, and reading goes on at the next line. Well-formed lines are parsed by polars; in files with quotes, the others
one by one (`_OddLines`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

import polars as pl

from hardneg.data.dataset import ROW
from hardneg.data.readers.line_blocks import SHOWN_CHARACTERS, UTF_8, Block, count_lines, read_line_blocks, show
from hardneg.data.readers.text_format import SEPARATOR_LINE, WHITESPACE, TextFormat
from hardneg.data.row_report import LEFT_OUT, RowCounter, RowIssue
from hardneg.errors import DataError
from hardneg.types import Progress

MAX_RECORD_LINES = 10
"""Maximum number of lines of a row with quoted line breaks."""
MAX_QUOTED_LINES = 1000
"""Number of lines within which the end of a quoted field is searched."""
MAX_BAD_SHARE, MIN_BAD_LINES = 0.05, 20
"""Share and number of lines that are not of the encoding, above which the encoding is taken to be wrong."""


class LineDecoder:
    """Decodes blocks into lines. A line with NUL bytes, or bytes that are not of the encoding, is counted and null.

    or_latin: read lines that are not UTF-8 as Latin-1.
    """

    def __init__(self, path: Path, counter: RowCounter, encoding: str = UTF_8, *, or_latin: bool = False) -> None:
        self._path, self._counter, self._encoding, self._or_latin = path, counter, encoding, or_latin
        self._n_lines = self._n_bad = 0

    def decode(self, block: Block) -> pl.Series:
        """Return all lines, blank ones included."""
        self._n_lines += block.n_lines
        data = block.data.removesuffix(b"\n")
        try:
            lines = pl.Series([data.decode()]).str.split("\n").explode()
            is_text = b"\0" not in data
        except UnicodeDecodeError:
            is_text = False
        if not is_text:
            lines = pl.Series(self._decode_each(block.first, data.split(b"\n")), dtype=pl.String)
        return lines.str.strip_suffix("\r").alias("text")

    def _decode_each(self, first: int, lines: list[bytes]) -> list[str | None]:
        texts = [self._decode_line(line) for line in lines]
        numbered = list(zip(range(first, first + len(lines)), lines, texts, strict=True))
        undefined = [(number, line) for number, line, text in numbered if text is None]
        nuls = [(number, line) for number, line, text in numbered if text is not None and "\0" in text]
        self._n_bad += len(undefined)
        remedy = f"{LEFT_OUT}; if the file is of another encoding, give it with --encoding"
        count_lines(self._counter, self._path, f"with bytes that are not {self._encoding}", undefined, remedy)
        count_lines(self._counter, self._path, "with NUL bytes", nuls)
        return [text if text is not None and "\0" not in text else None for text in texts]

    def _decode_line(self, line: bytes) -> str | None:
        try:
            return line.decode()
        except UnicodeDecodeError:
            return line.decode("latin-1") if self._or_latin else None

    def finish(self) -> None:
        """Raise DataError if so many lines were not of the encoding that it must be another."""
        if self._n_bad >= MIN_BAD_LINES and self._n_bad > MAX_BAD_SHARE * self._n_lines:
            raise DataError(
                f"{self._path} is not {self._encoding}: {self._n_bad:,} of {self._n_lines:,} lines hold other bytes; give "
                "its encoding, for example --encoding latin-1 or cp1252"
            )


def read_columns(
    path: Path,
    names: Sequence[str],
    form: TextFormat,
    counter: RowCounter,
    progress: Progress | None = None,
    *,
    header: bool = False,
    or_latin: bool = False,
) -> Iterator[pl.DataFrame]:
    """Yield one frame per block: the line number (ROW) and one string column per name.

    A row without exactly this number of fields is left out. header: skip the first line that is not blank. or_latin: see
    `LineDecoder`.
    """
    form.describe(counter.file(path.name))
    decoder = LineDecoder(path, counter, form.encoding, or_latin=or_latin)
    splitter = _LineSplitter(path, names, form, counter)
    rest = pl.Series("text", [], pl.String)
    blocks = read_line_blocks(path, progress, form.encoding)
    block = next(blocks, None)
    while block is not None:
        lines, first, following = pl.concat([rest, decoder.decode(block)]), block.first - len(rest), next(blocks, None)
        if header and (n_skipped := _length_to_header(lines)):
            lines, first, header = lines[n_skipped:], first + n_skipped, False
        frame, rest = splitter.split(lines, first, final=following is None)
        yield frame
        block = following
    decoder.finish()
    splitter.finish()


def _length_to_header(lines: pl.Series) -> int:
    """Return the number of lines up to the first that is neither blank nor for spreadsheets, 0 if there is none."""
    is_blank = ((lines.str.strip_chars() == "") | lines.str.contains(SEPARATOR_LINE)).fill_null(value=False)
    return 0 if is_blank.all() else int((~is_blank).arg_max() or 0) + 1


class _LineSplitter:
    """Splits lines into fields."""

    def __init__(self, path: Path, names: Sequence[str], form: TextFormat, counter: RowCounter) -> None:
        self._path, self._names, self._form, self._counter = path, list(names), form, counter
        self._odd = _OddLines(path, len(names), form, counter)
        self._schema = {ROW: pl.UInt32, **dict.fromkeys(self._names, pl.String)}

    def split(self, lines: pl.Series, first: int, *, final: bool) -> tuple[pl.DataFrame, pl.Series]:
        """Return the rows, and the lines at the end that may continue in the next block.

        first: number of the first line. final: there is no other block.
        """
        frame = pl.DataFrame({ROW: pl.int_range(first, first + len(lines), dtype=pl.UInt32, eager=True), "text": lines})
        frame = frame.filter(pl.col("text").str.strip_chars() != "")
        if not self._form.quote or not frame["text"].str.contains(self._form.quote, literal=True).any():
            return self._split_plain(frame), lines[:0]
        is_strict = self._is_strict
        places = frame.filter(~is_strict)[ROW] - first
        if places.is_empty():
            return self._parse(frame), lines[:0]
        rows, used, n_used = self._odd.read(lines.to_list(), first, places.to_list(), final=final)
        frame = frame.filter(is_strict, pl.col(ROW) < first + n_used, ~pl.col(ROW).is_in(used))
        odd = pl.DataFrame(rows, schema=self._schema, orient="row")
        return pl.concat([self._parse(frame), odd]).sort(ROW), lines[n_used:]

    def finish(self) -> None:
        """Note the rows over several lines in the summary of the file."""
        self._odd.finish()

    def _split_plain(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Split lines without quotes; those without exactly the fields are counted."""
        text, fields = pl.col("text"), pl.col("fields").list
        if self._form.delimiter == WHITESPACE:
            words = text.str.replace_all(r"\s+", " ").str.strip_chars().str.split(" ")
        else:
            words = text.str.split(self._form.delimiter)
        frame = frame.with_columns(words.alias("fields"))
        is_ragged, first = fields.len() != len(self._names), f"line {{{ROW}}}: {{text!r}}"
        if (ragged := frame.filter(is_ragged).with_columns(text.str.head(SHOWN_CHARACTERS))).height:
            self._counter.drop(ragged, pl.lit(value=True), self._path.name, _ragged(len(self._names)), first)
            frame = frame.filter(~is_ragged)
        return frame.select(ROW, *(fields.get(place).alias(name) for place, name in enumerate(self._names)))

    @property
    def _is_simple(self) -> bool:
        """True for delimiters and quotes that polars reads."""
        return len(self._form.delimiter.encode()) == len(self._form.quote.encode()) == 1

    @cached_property
    def _is_strict(self) -> pl.Expr:
        """Expression that is true for lines that are a row by themselves, and whose quotes enclose whole fields."""
        text, n_fields = pl.col("text").str, len(self._names)
        delimiter, quote = re.escape(self._form.delimiter), re.escape(self._form.quote)
        if not self._is_simple:
            n_delimiters = text.count_matches(self._form.delimiter, literal=True)
            return ~text.contains(self._form.quote, literal=True) & (n_delimiters == n_fields - 1)
        field = rf"(?:{quote}[^{quote}]*(?:{quote}{quote}[^{quote}]*)*{quote}|[^{quote}{delimiter}]*)"
        return text.contains(rf"^{field}(?:{delimiter}{field}){{{n_fields - 1}}}$")

    def _parse(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Parse lines that are strict."""
        if not self._is_simple or frame.is_empty():
            return self._split_plain(frame)
        data = frame["text"].str.join("\n")[0].encode()
        schema = dict.fromkeys(self._names, pl.String)
        try:
            rows = pl.read_csv(
                data,
                has_header=False,
                separator=self._form.delimiter,
                quote_char=self._form.quote,
                schema=schema,
                infer_schema=False,
                empty_string_is_null=False,
                missing_columns="raise",
                glob=False,
            )
        except (
            pl.exceptions.PolarsError,
            OSError,
        ):  # of bytes that look compressed; no other is known for strict lines
            rows = pl.DataFrame(schema=schema)
        if len(rows) != len(frame):
            fields = [self._form.split(line).fields for line in frame["text"]]
            rows = pl.DataFrame(fields, schema=schema, orient="row")
        return rows.insert_column(0, frame[ROW])


class _OddLines:
    """Reads the lines of a file with quotes that are not rows by themselves.

    Quoted line breaks are legal over MAX_RECORD_LINES; a longer row is left out. If most of the lines that a quoted field
    would hold look like rows, or it does not end, its quote is taken for a stray one, which costs its line alone.
    """

    def __init__(self, path: Path, n_fields: int, form: TextFormat, counter: RowCounter) -> None:
        self._path, self._n_fields, self._form, self._counter = path, n_fields, form, counter
        self._n_folded, self._first_folded = 0, 0

    def read(
        self, lines: list[str | None], first: int, places: list[int], *, final: bool
    ) -> tuple[list[tuple[int | str, ...]], list[int], int]:
        """Return rows (line number, fields), the numbers of all lines they use, and how many lines are done with.

        places: indices of the odd lines. final: see `_LineSplitter.split`.
        """
        rows: list[tuple[int | str, ...]] = []
        used: list[int] = []
        end = 0
        for place in places:
            if place < end:
                continue
            fault, fields, n_lines = self._read_row(lines, place, final=final)
            if n_lines == 0:
                return rows, used, place
            end, number = place + n_lines, first + place
            used += range(number, number + n_lines)
            if fault:
                self._count(fault, number, n_lines, lines[place] or "")
            else:
                rows.append((number, *fields))
                self._first_folded = self._first_folded or (number if n_lines > 1 else 0)
                self._n_folded += n_lines > 1
        return rows, used, len(lines)

    def finish(self) -> None:
        """Note the rows over several lines in the summary of the file."""
        if self._n_folded:
            rows = "row has" if self._n_folded == 1 else "rows have"
            remark = f"{self._n_folded:,} {rows} quoted line breaks (first: line {self._first_folded})"
            self._counter.file(self._path.name).remarks.append(remark)

    def _read_row(self, lines: list[str | None], place: int, *, final: bool) -> tuple[str, list[str], int]:
        """Return a fault, or blank and the fields; and the number of lines, 0 if more of them are needed."""
        record = self._form.split(lines[place] or "")
        if record.fault == "malformed":
            return "with text after a closing quote", [], 1
        if not record.fault:
            return self._check(record.fields, 1)
        ahead = lines[place + 1 : place + MAX_QUOTED_LINES]
        is_cut = None in ahead  # a line that is not text ends every row
        ahead = ahead[: ahead.index(None)] if is_cut else ahead
        text = "\n".join([lines[place] or "", *(line or "" for line in ahead)])
        record = self._form.split(text)
        n_lines = 1 + (len(ahead) if record.fault else text.count("\n", 0, record.end))
        inside = ahead[: min(n_lines - 1, MAX_RECORD_LINES)]
        needs_more = not (final or is_cut) and len(ahead) < MAX_QUOTED_LINES - 1
        if record.fault == "unclosed" and needs_more and len(inside) < MAX_RECORD_LINES:
            return "", [], 0
        is_stray = 2 * sum(self._is_row(line or "") for line in inside) > len(inside)
        if record.fault == "unclosed" and needs_more and not is_stray:
            return "", [], 0
        if record.fault or is_stray:
            return "with a quote that does not close", [], 1
        return self._check(record.fields, n_lines)

    def _check(self, fields: list[str], n_lines: int) -> tuple[str, list[str], int]:
        if n_lines > MAX_RECORD_LINES:
            return f"with a quoted field over more than {MAX_RECORD_LINES} lines", [], n_lines
        return ("" if len(fields) == self._n_fields else _ragged(self._n_fields)), fields, n_lines

    def _is_row(self, line: str) -> bool:
        """Return True for a line that looks like a row; a delimiter within a text is mostly followed by a space."""
        record = self._form.split(line)
        fields = record.fields
        return not record.fault and len(fields) == self._n_fields and not any(field[:1].isspace() for field in fields)

    def _count(self, fault: str, number: int, n_lines: int, line: str) -> None:
        where = f"line {number}" if n_lines == 1 else f"lines {number} to {number + n_lines - 1}"
        self._counter.add(RowIssue(self._path.name, fault, 1, f"{where}: {show(line)}", LEFT_OUT))


def _ragged(n_fields: int) -> str:
    return f"without exactly {n_fields} fields"
