"""What bad input cost: which rows, how many, the first of them, and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Entry:
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


Ledger = tuple[Entry, ...]


def as_notes(ledger: Ledger) -> list[dict[str, object]]:
    """The ledger as plain data, for a manifest."""
    return [asdict(entry) for entry in ledger]
