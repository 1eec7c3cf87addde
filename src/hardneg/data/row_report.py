"""Reports of input rows that were left out or changed: the reason, the count, the first row, the remedy."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import polars as pl

from hardneg.data.file_summary import FileSummary

LEFT_OUT = "they were left out"


@dataclass(frozen=True)
class RowIssue:
    """One reason for which rows were left out or changed.

    where: the file or step. reason: what the rows have in common. count: number of rows. first: number and content of
    the first of them. remedy: what was done with them, or what the user can do.
    """

    where: str
    reason: str
    count: int
    first: str
    remedy: str

    def __str__(self) -> str:
        rows = "row" if self.count == 1 else "rows"
        return f"{self.where}: {self.count:,} {rows} {self.reason} (first: {self.first}); {self.remedy}"


RowReport = tuple[RowIssue, ...]


def report_rows(rows: pl.DataFrame, where: str, reason: str, first: str, remedy: str = LEFT_OUT) -> RowReport:
    """Report rows, if there are any. first: format string for the first row, with its columns as fields."""
    if rows.is_empty():
        return ()
    return (RowIssue(where, reason, len(rows), first.format_map(rows.row(0, named=True)), remedy),)


def report_reasons(rows: pl.DataFrame, key: str, where: str, reason: str, first: str, remedy: str) -> RowReport:
    """Report rows by their column `reason`, the most frequent first.

    key: column of the number of a row. reason, first: format strings for a group, with {reason}, and for its first row,
    with {key}.
    """
    grouped = rows.group_by("reason", maintain_order=True).agg(pl.len(), pl.col(key).first())
    return tuple(
        RowIssue(where, reason.format(reason=why), count, first.format(key=number), remedy)
        for why, count, number in grouped.sort("len", descending=True, maintain_order=True).rows()
    )


def drop_rows(
    frame: pl.DataFrame, condition: pl.Expr, where: str, reason: str, first: str, remedy: str = LEFT_OUT
) -> tuple[pl.DataFrame, RowReport]:
    """Drop and report the rows for which the condition holds; it is never null. first: see `report_rows`."""
    dropped = frame.filter(condition)
    report = report_rows(dropped, where, reason, first, remedy)
    return frame.filter(~condition) if report else frame, report


class RowCounter:
    """Collects row issues block by block, and summaries of files.

    Issues of one file with one reason are merged and keep their first row. files: file name -> how it was understood.
    """

    def __init__(self) -> None:
        self._issues: dict[tuple[str, str, str], RowIssue] = {}
        self.files: dict[str, FileSummary] = {}

    def file(self, name: str) -> FileSummary:
        """Return the summary of a file, an empty one at first; readers fill it."""
        return self.files.setdefault(name, FileSummary())

    def add(self, *issues: RowIssue) -> None:
        """Count further rows."""
        for issue in issues:
            key = (issue.where, issue.reason, issue.remedy)
            previous = self._issues.get(key)
            self._issues[key] = replace(previous, count=previous.count + issue.count) if previous else issue

    def drop(
        self, frame: pl.DataFrame, condition: pl.Expr, where: str, reason: str, first: str, remedy: str = LEFT_OUT
    ) -> pl.DataFrame:
        """Drop and count rows; see `drop_rows`."""
        frame, issues = drop_rows(frame, condition, where, reason, first, remedy)
        self.add(*issues)
        return frame

    @property
    def row_report(self) -> RowReport:
        """The issues so far, in order of first occurrence."""
        return tuple(self._issues.values())


def report_notes(row_report: RowReport) -> list[dict[str, object]]:
    """Return the report as plain data for a manifest."""
    return [asdict(issue) for issue in row_report]
