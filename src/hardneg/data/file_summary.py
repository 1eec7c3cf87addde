"""Summaries of the files that an import read: how each was understood, for its printout and its manifest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class FileSummary:
    """How a reader understood one file; an empty entry does not apply.

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
