"""What may be wrong with splits, rows and sections of a file."""

from __future__ import annotations

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.errors import DataError
from hardneg.studies.checks import dual_tree, negatives
from hardneg.studies.checks.names import Names, of_name, same_folder
from hardneg.studies.spec import Grid, RowSpec, SplitSpec


def of_grid(grid: Grid, names: Names) -> list[str]:
    """What studies and searches share."""
    problems = []
    for section in ("splits", "models", "negatives", "trees", "suspects", "rows"):
        problems += same_folder(getattr(grid, section), section)
    for name, split in grid.splits.items():
        problems += _of_split(name, split) if name in names.standing else []
    for name, row in grid.rows.items():
        problems += _of_places(name, row, names)
        problems += [] if row.against is None else of_name(f"rows.{name}", "rows", row.against, names.rows)
        problems += negatives.of_row(name, row, grid, names) + dual_tree.of_row(name, row, grid, names)
    problems += negatives.of_negatives(grid, names) + dual_tree.of_sections(grid, names)
    fits = {"fit": grid.fit, **{f"rows.{name}.fit": row.fit for name, row in grid.rows.items()}}
    fits |= {f"splits.{name}.fit": split.fit for name, split in grid.splits.items()}
    return problems + [
        f"{where}: seed is no training setting here; the file's `seed` or `seeds` decides"
        for where, fit in fits.items()
        if "seed" in fit.model_fields_set
    ]


def _of_split(name: str, split: SplitSpec) -> list[str]:
    try:
        notes = artifacts.read_manifest(split.folder, splits.KIND)["notes"]
        if split.truth is not None:
            artifacts.read_manifest(split.truth, datasets.KIND)
    except DataError as error:
        return [f"splits.{name}: {error}"]
    if not notes.get("valid pairs", 1):
        return [f"splits.{name}: {split.folder} has no validation pairs; split again with a valid share above 0"]
    return []


def _of_places(name: str, row: RowSpec, names: Names) -> list[str]:
    return [
        f"rows.{name}: found {what} {wanted!r}, expected one of {', '.join(sorted(known))}"
        for what, given, known in (("split", row.splits, names.splits), ("model", row.models, names.models))
        for wanted in given or ()
        if wanted not in known
    ]
