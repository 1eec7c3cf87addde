"""What a file names, and what is wrong with names alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hardneg import artifacts
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.provenance import require_same_split
from hardneg.studies.auxiliary_runs import RunSpec
from hardneg.studies.runs import slug
from hardneg.studies.spec import Grid, RowSpec


@dataclass(frozen=True)
class Names:
    """What the file names, entries with problems of their own included."""

    splits: frozenset[str]
    models: frozenset[str]
    negatives: frozenset[str]
    trees: frozenset[str]
    suspects: frozenset[str]
    rows: frozenset[str]
    standing: frozenset[str]
    """Splits of which every folder has to stand: those that are asked for, or all."""

    @classmethod
    def of(cls, values: Mapping[str, Any], only: Sequence[str] = ()) -> Names:
        """From the file as it was read; only: the splits that are asked for, empty for all."""
        sections = {name: values.get(name) for name in ("splits", "models", "negatives", "trees", "suspects", "rows")}
        found = {name: frozenset(map(str, held if isinstance(held, dict) else ())) for name, held in sections.items()}
        return cls(**found, standing=frozenset(only) or found["splits"])


def same_folder(names: Iterable[str], section: str) -> list[str]:
    """Names that differ in signs alone would share a folder."""
    seen: dict[str, str] = {}
    problems = []
    for name in names:
        other = seen.setdefault(slug(name), name)
        if other != name:
            problems.append(f"{section}: {other!r} and {name!r} would share the folder {slug(name)!r}; rename one")
    return problems


def of_folders(
    where: str, folders: Mapping[str, Path], grid: Grid, names: Names, kind: Callable[[Path], str]
) -> list[str]:
    """Given folders belong to splits of the file; those of splits that are asked for stand, are of their kind, and were
    made from these."""
    problems = []
    for split, folder in folders.items():
        if split not in names.splits:
            problems.append(f"{where}: {split!r} is no name under `splits`")
        elif split not in names.standing:
            continue
        try:
            artifacts.read_manifest(folder, kind(folder))
            if split in grid.splits and artifacts.kind_at(grid.splits[split].folder) == splits.KIND:
                require_same_split(folder, kind(folder), grid.splits[split].folder)
        except (ConfigError, DataError) as error:
            problems.append(f"{where}: {error}")
    return problems


def of_name(where: str, section: str, wanted: str, known: frozenset[str]) -> list[str]:
    """It is one of a section of the file."""
    if wanted in known:
        return []
    named = ", ".join(sorted(known)) or "none is named"
    return [f"{where}: found {section} {wanted!r}, expected a name under `{section}` ({named})"]


def of_run(run: RunSpec, names: Names) -> list[str]:
    """Its model and its row are in the file."""
    return [
        f"found {what} {given!r}, expected one of {', '.join(sorted(known))}"
        for what, given, known in (("model", run.model, names.models), ("row", run.row, names.rows))
        if given not in known
    ]


def splits_of(row: RowSpec, grid: Grid) -> list[str]:
    """Those that it has lines on."""
    return [split for split in grid.splits if row.splits is None or split in row.splits]


def has_line(grid: Grid, split: str, run: RunSpec) -> bool:
    """False where the row of a run is restricted to other splits or models."""
    row = grid.rows.get(run.row)
    if row is None:
        return True  # said elsewhere
    return (row.splits is None or split in row.splits) and (row.models is None or run.model in row.models)
