"""The format of delimited text: delimiter, quote and encoding, as the user gives them or as the first lines decide."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from hardneg.data.file_summary import FileSummary
from hardneg.data.readers.line_blocks import UTF_8, detect_encoding, read_line_blocks, require_encoding, show
from hardneg.errors import ConfigError, DataError

WHITESPACE = "white space"
"""Delimiter that stands for any run of white space."""
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", " ": "space"}
"""Delimiter -> its name in options and reports; others are named as they are."""
DELIMITERS = (",", ";", "\t", "|", "::")
"""Delimiters that are recognised by content."""
QUOTED = (",", ";", "|")
"""Delimiters of files in which a double quote at the beginning of a field quotes it, if the user says nothing."""
SEPARATOR_LINE = r'^"?sep=.{1,2}$'
"""A line that spreadsheets write before the column names, such as `sep=;`."""
NO_QUOTE = "none"
N_SAMPLED = 100
"""Number of lines that decide the delimiter."""
NEARLY_ALL = 0.8
"""Share of the sampled lines that must have as many fields as the first one."""
ZIP = b"PK\x03\x04"
MAX_NULS = 0.1
"""Share of NUL bytes at the beginning of a file above which it is taken for UTF-16 without a mark."""


@dataclass(frozen=True)
class TextOptions:
    """Delimiter, quote and encoding as the user gave them; None where the content decides."""

    delimiter: str | None = None
    quote: str | None = None
    encoding: str | None = None

    @classmethod
    def of(cls, delimiter: str | None = None, quote: str | None = None, encoding: str | None = None) -> TextOptions:
        """Check options as the user gives them, with names for some characters. Raises ConfigError."""
        named = {name: character for character, name in NAMES.items()} | {r"\t": "\t"}
        delimiter = None if delimiter is None else named.get(delimiter, delimiter)
        if delimiter not in (None, WHITESPACE) and not re.fullmatch(r"[^\w\r\n\0\"]{1,9}", delimiter):
            raise ConfigError(
                f"found --delimiter {delimiter!r}, expected {', '.join(NAMES.values())}, :: or other characters that are "
                "not letters, digits or quotes"
            )
        if quote not in (None, NO_QUOTE) and (len(quote) != 1 or quote.isspace() or quote == delimiter):
            raise ConfigError(f"found --quote {quote!r}, expected one character, such as '\"', or {NO_QUOTE}")
        return cls(delimiter, quote, None if encoding is None else require_encoding(encoding))


@dataclass(frozen=True)
class Record:
    """The fields of a record at the beginning of a text, and the offset of its end.

    fault: "unclosed" if the text ends within quotes, "malformed" if text follows a closing quote, else blank.
    """

    fields: list[str]
    end: int = 0
    fault: Literal["", "unclosed", "malformed"] = ""


@dataclass(frozen=True)
class TextFormat:
    """Delimiter, quote (blank: none) and encoding of a file."""

    delimiter: str
    quote: str = ""
    encoding: str = UTF_8

    def split(self, text: str) -> Record:
        """Split the first record of a text. A quote within a field that does not begin with one is an ordinary character."""
        if self.delimiter == WHITESPACE:
            return Record(text.split(), len(text))
        fields, at = [], 0
        while field := self._field.match(text, at):
            quoted, plain = field.groups()
            fields.append(plain if quoted is None else quoted.replace(self.quote * 2, self.quote))
            at = field.end()
            if at == len(text) or text[at] == "\n":
                return Record(fields, at)
            if not text.startswith(self.delimiter, at):
                return Record(fields, at, "malformed")
            at += len(self.delimiter)
        return Record(fields, at, "unclosed")

    @cached_property
    def _field(self) -> re.Pattern[str]:
        """A field: its first group is the text between quotes, its second one a field without them."""
        delimiter, quote = re.escape(self.delimiter), re.escape(self.quote)
        plain = rf"[^{delimiter}\n]*" if len(self.delimiter) == 1 else rf"(?:(?!{delimiter})[^\n])*"
        if not quote:
            return re.compile(rf"(?!)()|({plain})")
        return re.compile(rf"{quote}([^{quote}]*(?:{quote}{quote}[^{quote}]*)*){quote}(?!{quote})|((?!{quote}){plain})")

    def describe(self, summary: FileSummary) -> None:
        """Fill in the summary of a file."""
        summary.delimiter = NAMES.get(self.delimiter, self.delimiter)
        summary.quote = self.quote or NO_QUOTE
        summary.encoding = self.encoding


def detect_header(
    path: Path, options: TextOptions, accepts: Callable[[Sequence[str]], bool], among: Sequence[str] = DELIMITERS
) -> tuple[TextFormat, list[str]]:
    """Return the format of a file whose first line has the column names, and these names.

    accepts: returns True for names that have the needed columns. Where no delimiter gives these, the one decides that
    divides nearly all lines into the same number of fields. Raises DataError if the format is not clear.
    """
    lines, encoding = sample_lines(path, options.encoding)
    lines = lines[1:] if len(lines) > 1 and re.match(SEPARATOR_LINE, lines[0]) else lines
    formats = _candidates(options, among, encoding)
    names = {form: _split_names(form, lines[0]) for form in formats}
    likely = [form for form in formats if accepts(names[form])] or [form for form in formats if len(names[form]) > 1]
    if len({tuple(names[form]) for form in likely}) > 1:
        even = [form for form in likely if _share(form, lines, len(names[form])) >= NEARLY_ALL]
        if len(even) != 1:
            found = " or ".join(NAMES.get(form.delimiter, form.delimiter) for form in even or likely)
            raise DataError(f"{path} may be divided by {found} (first line: {show(lines[0])}); choose with --delimiter")
        likely = even
    if not likely and options.delimiter is None:
        raise DataError(
            f"{path} has a first line without a delimiter, {show(lines[0])}, expected column names between commas, "
            "semicolons, tabs, pipes or ::; give another with --delimiter"
        )
    form = (likely or formats)[0]
    if not form.quote and options.quote is None and all(re.fullmatch('".*"', name) for name in names[form]):
        raise DataError(f"{path} has column names in double quotes, {show(lines[0])}; say --quote '\"' or --quote none")
    return form, names[form]


def detect_fields(
    path: Path, options: TextOptions, n_fields: int, among: Sequence[str], *, or_latin: bool = False
) -> TextFormat:
    """Return the format of a file without column names: the delimiter that gives n_fields most often, else the first."""
    lines, encoding = sample_lines(path, options.encoding, or_latin=or_latin)
    formats = _candidates(options, among, encoding)
    return max(formats, key=lambda form: _share(form, lines, n_fields))


def sample_lines(path: Path, encoding: str | None = None, *, or_latin: bool = False) -> tuple[list[str], str]:
    """Return the first lines that are not blank, and the encoding. Raises DataError if they are not text.

    or_latin: the lines that are not UTF-8 are Latin-1.
    """
    block = next(read_line_blocks(path, encoding=encoding))
    if block.data.startswith(ZIP):
        raise DataError(f"{path} is a ZIP archive or a workbook, expected text; unpack it, or export it as text")
    if block.data.count(b"\0") > MAX_NULS * len(block.data):
        raise DataError(
            f"{path} holds NUL bytes, expected text; if it is UTF-16, say --encoding utf-16-le or utf-16-be"
        )
    encoding = encoding or detect_encoding(path)
    lines = [line for _, line in block.lines()[:N_SAMPLED]]
    if not lines:
        raise DataError(f"{path} is empty, expected lines of text; check the file")
    try:
        lines[0].decode("latin-1" if or_latin else UTF_8)
    except UnicodeDecodeError:
        raise DataError(
            f"{path} has a first line that is not {encoding}, {show(lines[0].decode(errors='replace'))}; "
            "give its encoding, for example --encoding latin-1 or cp1252"
        ) from None
    return [line.decode(errors="replace") for line in lines], encoding


def require_names(names: Sequence[str], path: Path) -> None:
    """Raise DataError for a column that is named twice, or not at all unless it is the first (of row names)."""
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{path} has the column {repeated!r} twice, expected distinct names; rename one")
    if "" in names[1:]:
        raise DataError(f"{path} has no name for column {names.index('', 1) + 1}; write one in its first line")


def _candidates(options: TextOptions, among: Sequence[str], encoding: str) -> list[TextFormat]:
    quotes = {delimiter: '"' if delimiter in QUOTED else "" for delimiter in (options.delimiter or "", *among)}
    if options.quote is not None:
        quotes = dict.fromkeys(quotes, "" if options.quote == NO_QUOTE else options.quote)
    chosen = among if options.delimiter is None else (options.delimiter,)
    return [TextFormat(delimiter, quotes[delimiter], encoding) for delimiter in chosen]


def _split_names(form: TextFormat, line: str) -> list[str]:
    """Return the names in a line, the line itself if it is not a row."""
    record = form.split(line)
    return [line] if record.fault else [name.strip() for name in record.fields]


def _share(form: TextFormat, lines: Sequence[str], n_fields: int) -> float:
    """Return the share of the lines with this number of fields."""
    records = map(form.split, lines)
    return sum(len(record.fields) == n_fields and not record.fault for record in records) / len(lines)
