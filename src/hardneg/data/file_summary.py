"""Summaries of the files that an import read: how each was understood, for its printout and its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any


@dataclass
class FileSummary:
    """A reader's understanding of one file; an empty entry does not apply.

    delimiter, quote, encoding: as read. columns: our name -> theirs, for the columns used. unused: their other columns.
    time_format: format of the timestamps. first_time, last_time: seconds since 1970 (UTC) over the rows kept.
    remarks: further sentences for the reader of the report.
    """

    delimiter: str = ""
    quote: str = ""
    encoding: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    time_format: str = ""
    first_time: float | None = None
    last_time: float | None = None
    remarks: list[str] = field(default_factory=list)

    def add_times(self, first: float | None, last: float | None) -> None:
        """Extend the range of times by those of further rows; None where they have none."""
        if first is not None:
            self.first_time = first if self.first_time is None else min(self.first_time, first)
        if last is not None:
            self.last_time = last if self.last_time is None else max(self.last_time, last)

    def notes(self) -> dict[str, Any]:
        """Return the entries that apply as plain data for a manifest."""
        return {name: value for name, value in vars(self).items() if value not in ("", None, {}, [])}

    def lines(self) -> Iterator[str]:
        """Yield the entries that apply as lines of text."""
        form = {"delimiter": self.delimiter, "quote": self.quote, "encoding": self.encoding}
        if any(form.values()):
            yield ", ".join(f"{name} {value}" for name, value in form.items() if value)
        if self.columns:
            pairs = (ours if ours == theirs else f"{ours} = {theirs}" for ours, theirs in self.columns.items())
            yield f"columns {', '.join(pairs)}"
        if self.unused:
            yield f"unused {', '.join(self.unused)}"
        if self.time_format:
            ends = [_render_time(time) for time in (self.first_time, self.last_time) if time is not None]
            yield f"times {', '.join([self.time_format, *([' to '.join(ends)] if ends else [])])}"
        yield from self.remarks


def file_notes(files: Mapping[str, FileSummary]) -> dict[str, dict[str, Any]]:
    """Return the summaries of files as plain data for a manifest."""
    return {name: summary.notes() for name, summary in files.items()}


def _render_time(seconds: float) -> str:
    """Return a time in UTC to the second, or the number where no calendar has it."""
    try:
        return f"{datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(seconds)):%Y-%m-%d %H:%M:%S}"
    except OverflowError:
        return f"{seconds:g}"
