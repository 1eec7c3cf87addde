"""What bad input cost: which rows, how many, the first of them, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace


@dataclass(frozen=True)
class RowIssue:
    """One reason for which rows were dropped or changed.

    where: the file or step. reason: what was found. count: rows concerned. first: the first of them, by row number
    and content. remedy: what the reader can do.
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


class RowCounter:
    """A ledger that grows block by block: the same reason in the same file is one entry, and its first row stays first."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str, str], RowIssue] = {}

    def add(self, *entries: RowIssue) -> None:
        """Count these too."""
        for entry in entries:
            key = (entry.where, entry.reason, entry.remedy)
            known = self._entries.get(key)
            self._entries[key] = replace(known, count=known.count + entry.count) if known else entry

    @property
    def row_report(self) -> RowReport:
        """What was counted so far, in the order in which the reasons came up."""
        return tuple(self._entries.values())


def report_notes(row_report: RowReport) -> list[dict[str, object]]:
    """The ledger as plain data, for a manifest."""
    return [asdict(entry) for entry in row_report]
