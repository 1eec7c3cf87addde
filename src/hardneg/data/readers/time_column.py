"""The times of one file: a format chosen from the column, then rows read block by block and reported."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from hardneg.data import columns as c
from hardneg.data.dataset import ROW
from hardneg.data.ids import MISSING
from hardneg.data.row_report import RowCounter, report_rows
from hardneg.data.times import EARLIEST, NAMES, ORDER, TimeEvidence, TimeFormat, is_dated, parse_times, tomorrow
from hardneg.errors import ConfigError, DataError

KEPT = "kept; check them"
NO_TIME = "kept, but a split by time needs one"
UNKNOWN = f"of {c.TIMESTAMP} 1970-01-01 00:00, which often means an unknown time"
_TIME = "_time"


class TimeColumn:
    """Reader of the column `timestamp` of one file.

    time_format: that of the source or of the user; without one, `choose` must see the column first. row: word for a
    row of the file.
    """

    def __init__(
        self, path: Path, counter: RowCounter, time_format: TimeFormat | None = None, *, row: str = "line"
    ) -> None:
        self._path, self._counter = path, counter
        self._where = f"{path}: column {c.TIMESTAMP}"
        self._first = f"{row} {{{ROW}}}, {c.TIMESTAMP} {{{c.TIMESTAMP}!r}}"
        self._format, self._is_guess = time_format, time_format is None
        self._n_values = self._n_unreadable = self._n_unlikely = 0
        self._first_unreadable = ""
        self._kept: dict[tuple[str, str], tuple[int, str]] = {}

    def choose(self, blocks: Iterable[pl.Series]) -> None:
        """Choose the format, unless there is one, by the first blocks that decide it.

        blocks: values of the column, in order. Raises DataError where the whole column does not decide.
        """
        if self._format is not None:
            return
        evidence, error = TimeEvidence(), None
        for values in blocks:
            if is_dated(values):
                return
            evidence.add(values.filter(~_flag_blank(values)))
            try:
                self._format, error = evidence.choose(), None
            except DataError as found:
                error = found
            # Small numbers may be unknown times at the top of a file.
            if error is None and not evidence.is_empty and not self._gives_order:
                break
        if error is not None:
            raise DataError(f"{self._where}: {error}")

    def refuse_format(self) -> None:
        """Raise ConfigError if a format was given for a file in which no column is the timestamp."""
        if self._format is not None:
            raise ConfigError(
                f"{self._path}: found --time-format, but no column {c.TIMESTAMP}; map it with --column {c.TIMESTAMP}=THEIRS"
            )

    def read(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the rows with their times in seconds since 1970 (UTC), except those with an unreadable time.

        frame: with ROW. A blank time becomes null.
        """
        values = frame[c.TIMESTAMP]
        if is_dated(values) and not self._is_guess:
            raise ConfigError(f"{self._where} holds {values.dtype}, which needs no --time-format; leave it out")
        frame = frame.with_columns(parse_times(values, self._format or TimeFormat()).alias(_TIME))
        unreadable = frame[_TIME].is_null()
        self._n_values += len(values)
        if unreadable.any():
            blank = _flag_blank(values)
            self._n_values -= int(blank.sum())
            unreadable &= ~blank
        if unreadable.any():
            self._n_unreadable += int(unreadable.sum())
            bad, frame = frame.filter(unreadable), frame.filter(~unreadable)
            self._first_unreadable = self._first_unreadable or self._first.format_map(bad.row(0, named=True))
            self._counter.add(*report_rows(bad, self._path.name, f"without a time as {c.TIMESTAMP}", self._first))
        self._count_kept(frame)
        summary = self._counter.file(self._path.name)
        if self._n_values:
            summary.time_format = str(values.dtype) if is_dated(values) else str(self._format)
        if not self._gives_order:
            summary.add_times(frame[_TIME].min(), frame[_TIME].max())  # type: ignore[arg-type]
        return frame.with_columns(pl.col(_TIME).alias(c.TIMESTAMP)).drop(_TIME)

    @property
    def _gives_order(self) -> bool:
        return self._format is not None and self._format.unit == ORDER

    def _count_kept(self, frame: pl.DataFrame) -> None:
        """Count rows without a time, and those with an unlikely one."""
        times = frame[_TIME]
        kinds = [(times.is_null(), f"without a {c.TIMESTAMP}", NO_TIME)]
        if not self._gives_order:
            is_zero, is_late = times == 0, times >= tomorrow()
            is_early = (times < EARLIEST) & ~is_zero
            # Dates of a typed column can have no other format.
            self._n_unlikely += 0 if is_dated(frame[c.TIMESTAMP]) else int((is_early | is_late).sum())
            kinds += [(is_zero, UNKNOWN, KEPT), (is_early, "before 1990", KEPT), (is_late, "after tomorrow", KEPT)]
        for flags, reason, remedy in kinds:
            if flags.any():
                rows = frame.filter(flags)
                first = self._first.format_map(rows.row(0, named=True))
                count, first = self._kept.get((reason, remedy), (0, first))
                self._kept[reason, remedy] = (count + len(rows), first)

    def finish(self) -> None:
        """Note which rows were kept without a time or with an unlikely one.

        Raises DataError if most times are unreadable, or unlikely, in a format that was guessed, or all in a given one.
        """
        for (reason, remedy), (count, first) in self._kept.items():
            rows = "row" if count == 1 else "rows"
            self._counter.file(self._path.name).remarks.append(f"{count:,} {rows} {reason} (first: {first}); {remedy}")
        if not self._is_guess and 0 < self._n_values == self._n_unreadable:
            raise DataError(
                f"{self._where}: none of {self._n_values:,} values is a time as {self._format} "
                f"(first: {self._first_unreadable}); give the format that they have"
            )
        if self._is_guess and self._n_unreadable * 2 > self._n_values:
            raise DataError(
                f"{self._where}: {self._n_unreadable:,} of {self._n_values:,} values are no time "
                f"(first: {self._first_unreadable}), expected times; "
                "say --time-format, for example '%d %b %Y', or map another column"
            )
        if self._is_guess and self._n_unlikely * 2 > self._n_values:
            raise DataError(
                f"{self._where}: {self._n_unlikely:,} of {self._n_values:,} values are before 1990 or after tomorrow "
                f"if they are {self._format or 'dates'}, expected few; say --time-format: one of {', '.join(NAMES)}, or a pattern"
            )


def _flag_blank(values: pl.Series) -> pl.Series:
    """Return (rows,) flags of values that say nothing."""
    if values.dtype.is_numeric() or is_dated(values):
        return values.is_null() | (values.is_nan().fill_null(value=False) if values.dtype.is_float() else False)
    texts = values.cast(pl.String).str.strip_chars()
    return ((texts == "") | texts.is_in(MISSING)).fill_null(value=True)
