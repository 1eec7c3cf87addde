"""Names of the columns of a file: ours for theirs, as the user chooses or as they are usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hardneg.data import columns as c
from hardneg.data.file_summary import FileSummary
from hardneg.errors import ConfigError, DataError

GUESSES = {c.USER_ID: ("user_id", "user"), c.ITEM_ID: ("item_id", "item")}
"""Column names of tables recognised as ids if none is mapped."""


@dataclass(frozen=True)
class ColumnChoice:
    """Columns to look for in a table.

    chosen: our name -> theirs, as the user says. allowed: all our names. required: ours that the table must have.
    option: that of the command line with the chosen names.
    """

    chosen: Mapping[str, str]
    allowed: tuple[str, ...]
    required: tuple[str, ...]
    option: str

    @property
    def usual(self) -> dict[str, list[str]]:
        """Our name -> theirs by priority; a column that is chosen for one name is not guessed for another."""
        taken = self.chosen.values()
        return {ours: [name for name in GUESSES.get(ours, (ours,)) if name not in taken] for ours in self.allowed}

    @property
    def by_number(self) -> bool:
        """True if the user gives numbers of columns, as for a table without column names."""
        return bool(self.chosen) and all(theirs.isdecimal() for theirs in self.chosen.values())

    def accepts(self, names: Sequence[str]) -> bool:
        """Return True if the required columns are among these names, or among their numbers."""
        known = {*names, *(map(str, range(1, len(names) + 1)) if self.by_number else ())}
        theirs = self.usual | {ours: [name] for ours, name in self.chosen.items()}
        return all(known.intersection(theirs[ours]) for ours in self.required)

    def map(self, names: Sequence[str], path: Path) -> dict[str, str]:
        """Return our name -> theirs, for all columns in a file."""
        return map_columns(names, self.chosen, self.usual, self.required, path, self.option)


def map_columns(
    names: Sequence[str],
    chosen: Mapping[str, str],
    usual: Mapping[str, Sequence[str]],
    required: tuple[str, ...],
    path: Path,
    option: str,
) -> dict[str, str]:
    """Return our name -> theirs, for all columns in a file.

    names: those in the file. chosen: our name -> theirs. usual: our name -> theirs by priority, for names not chosen.
    option: that of the command line with the chosen names.
    """
    if unknown := [name for name in chosen if name not in usual]:
        raise ConfigError(f"found {option} {unknown[0]}, expected one of {', '.join(usual)}")
    guesses = {ours: next((name for name in theirs if name in names), None) for ours, theirs in usual.items()}
    mapping = {ours: chosen.get(ours, guess) for ours, guess in guesses.items()}
    for ours in (*required, *chosen):
        if mapping[ours] not in names:
            raise DataError(
                f"{path} has no column {mapping[ours] or ours!r} for {ours}, found {', '.join(names)}; "
                f"map it with {option} {ours}=THEIRS"
            )
    return {ours: theirs for ours, theirs in mapping.items() if theirs is not None}


def note_columns(
    summary: FileSummary, names: Sequence[str], mapping: Mapping[str, str], others: Sequence[str] = ()
) -> None:
    """Note the columns used, our name -> theirs, and the unused ones. others: used under their own names."""
    summary.columns = {**mapping, **{name: name for name in others}}
    used = summary.columns.values()
    summary.unused = [name or "(without a name)" for name in names if name not in used]
