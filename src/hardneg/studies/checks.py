"""Checks of a study or search file beyond the form of its fields. Each returns its problems, one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.sampling import SamplerConfig, SamplerInputs, SemanticMixing, TrainingPairs, UniformCandidates, mined
from hardneg.sampling.tree_similarity import TreeWeights, tree_weights
from hardneg.studies.cells import Cell, get_setting, has_setting, with_settings
from hardneg.studies.recipes import StudyFile, slug
from hardneg.studies.spec import RECIPE_SECTIONS, Choices, Grid, Range, RowSpec, SearchSpec, SplitSpec, StudySpec

SECTIONS = ("splits", "models", *RECIPE_SECTIONS, "rows")
"""Sections with names."""
NEEDS_TREES = "needs trees; name some with `trees: NAME`, or set alpha_c and alpha_s to 0"


def grid_problems(file: StudyFile) -> list[str]:
    """Check splits, recipes, rows and training settings."""
    grid, problems = file.grid, list[str]()
    for section in SECTIONS:
        problems += _shared_folder_problems(getattr(grid, section), section)
    for name, split in grid.splits.items():
        problems += _split_problems(name, split) if name in file.required_splits else []
        of_models = [text for model in split.models or () for text in file.reference_problems("models", model)]
        problems += [f"splits.{name}: {text}" for text in of_models]
    for name, row in grid.rows.items():
        problems += [f"rows.{name}: {text}" for text in _row_problems(row, file)]
    for section in RECIPE_SECTIONS:
        for name, recipe in grid.recipes(section).items():
            problems += [f"{section}.{name}: {text}" for text in recipe.problems(file)]
    fits = {"fit": grid.fit, **{f"rows.{name}.fit": row.fit for name, row in grid.rows.items()}}
    fits |= {f"splits.{name}.fit": split.fit for name, split in grid.splits.items()}
    return problems + [
        f"{where}: seed is no training setting here; the file's `seed` or `seeds` decides"
        for where, fit in fits.items()
        if "seed" in fit.model_fields_set
    ]


def _shared_folder_problems(names: Iterable[str], section: str) -> list[str]:
    first_with: dict[str, str] = {}
    return [
        f"{section}: {other!r} and {name!r} would share the folder {slug(name)!r}; rename one"
        for name in names
        if (other := first_with.setdefault(slug(name), name)) != name
    ]


def _split_problems(name: str, split: SplitSpec) -> list[str]:
    try:
        notes = artifacts.read_manifest(split.folder, splits.KIND)["notes"]
        if isinstance(split.truth, Path):
            artifacts.read_manifest(split.truth, datasets.KIND)
    except DataError as error:
        return [f"splits.{name}: {error}"]
    if not notes.get("valid pairs", 1):
        reason = splits.reason_of_no_pairs(notes, "valid")
        return [f"splits.{name}: {split.folder} has no validation pairs; {reason}"]
    return []


def _row_problems(row: RowSpec, file: StudyFile) -> list[str]:
    """Check the names in a row, what its sampler reads, and whether its artifacts can be made on its splits."""
    suspects = None if row.suspects is None else row.suspects.name
    named: list[tuple[str, str | None]] = [
        *(("splits", split) for split in row.splits or ()),
        *(("models", model) for model in row.models or ()),
    ]
    named += [("rows", row.against), ("negatives", row.negatives), ("trees", row.trees), ("suspects", suspects)]
    judged = () if row.rerank is None else row.rerank.suspects
    named += [("suspects", name) for name in judged]
    problems = [text for section, name in named for text in file.reference_problems(section, name)]
    problems += _sampler_problems(row, file.grid)
    entries, on_splits = list(file.grid.row_entries(row).values()), filter(row.is_on, file.grid.splits)
    entries += [entry for name in judged if (entry := file.grid.entry("suspects", name)) is not None]
    return problems + [text for split in on_splits for entry in entries for text in entry.problems_on(split, file.grid)]


def _sampler_problems(row: RowSpec, grid: Grid) -> list[str]:
    problems, needs_negatives = list[str](), _needs_negatives(row.sampler)
    if needs_negatives and row.negatives is None:
        problems.append("needs negatives; name some with `negatives: NAME`")
    if not needs_negatives and row.negatives is not None:
        problems.append("uses no negatives; leave `negatives` out")
    recipe = grid.negatives.get(row.negatives or "")
    if recipe is not None and recipe.makes is not None:
        mixes, has_neighbours = isinstance(row.sampler, SemanticMixing), recipe.makes == mined.NEIGHBOURS
        if mixes and not has_neighbours:
            problems.append("needs neighbours; name some of `method: neighbours`")
        if has_neighbours and not mixes:
            problems.append("uses no neighbours; name negatives of another method")
    if row.trees is not None and tree_weights(row.sampler) is None:
        problems.append("uses no trees; leave `trees` out")
    if row.trees is None and _reads_trees(row.sampler):
        problems.append(NEEDS_TREES)
    return [f"sampler {row.sampler.kind!r} {text}" for text in problems]


def _needs_negatives(sampler: SamplerConfig) -> bool:
    """Return True where a sampler cannot be built without mined negatives or neighbours."""
    if isinstance(sampler, TreeWeights):
        return False  # it may need trees
    try:
        pair = Interactions(np.zeros(1, np.int64), np.zeros(1, np.int64), 1, 2)
        pairs = TrainingPairs(pair, pair.users, pair.items, UniformCandidates(pair))
        sampler.build(SamplerInputs(1, None, 0, pairs=pairs))
    except ConfigError:
        return True
    return False


def _reads_trees(sampler: SamplerConfig) -> bool:
    weights = tree_weights(sampler)
    return weights is not None and weights.reads_trees


def released_mask_problems(spec: StudySpec, file: StudyFile) -> list[str]:
    """Check that the mask names suspects which can be made wherever no folder is given."""
    problems, entry = (
        file.reference_problems("suspects", spec.released_mask),
        spec.entry("suspects", spec.released_mask),
    )
    if entry is not None and not entry.recipe.exists:
        problems += [text for split in spec.splits for text in entry.problems_on(split, spec)]
    return [f"released_mask: {text}" for text in problems]


def unused_setting_problems(cells: Sequence[Cell], fields: Iterable[str], where: str) -> list[str]:
    """Check that every setting exists in some cell; else it is misspelt."""
    return [
        f"{where}: no row or model has the setting {field!r}; check its name"
        for field in fields
        if not any(has_setting(cell.config, field) for cell in cells)
    ]


def tree_weight_problems(cells: Iterable[Cell], grid: Grid) -> list[str]:
    """Check that no option makes a line read trees that its row does not name; the row itself is checked before."""
    rows = dict.fromkeys(
        cell.row for cell in cells if "trees" not in cell.entries and _reads_trees(cell.config.sampler)
    )
    by_option = [row for row in rows if not _reads_trees(grid.rows[row].sampler)]
    return [f"options: {row!r} gets a weight of trees, but {NEEDS_TREES}" for row in by_option]


def line_problems(cells: Sequence[Cell]) -> list[str]:
    """Check that there are lines, and that no two of a table share a name or a folder."""
    if not cells:
        return ["no run is left: `splits` and `models` of the rows exclude everything"]
    problems = []
    for table in dict.fromkeys(cell.table for cell in cells):
        lines = [cell.line for cell in cells if cell.table == table]
        problems += _shared_folder_problems(lines, "rows")
        problems += [
            f"rows: two lines are called {line!r}; rename one, or let one row alone have it"
            for line in {line for line in lines if lines.count(line) > 1}
        ]
    return problems


def baseline_problems(baseline: str, cells: Sequence[Cell], file: StudyFile) -> list[str]:
    """Check that every table has a line of the baseline."""
    if baseline in file.names["rows"] and not any(cell.row == baseline for cell in cells):
        return []  # a row with problems of its own
    with_baseline = {cell.table for cell in cells if baseline in (cell.row, cell.line)}
    if not with_baseline:
        known = ", ".join(dict.fromkeys(cell.line for cell in cells))
        return [f"baseline: found {baseline!r}, expected one of the rows ({known})"]
    return [
        f"baseline: {baseline!r} has no line on {split} / {model}; drop its `splits` or `models`"
        for split, model in dict.fromkeys(cell.table for cell in cells)
        if (split, model) not in with_baseline
    ]


def comparison_problems(comparisons: Sequence[tuple[str, str]], cells: Sequence[Cell]) -> list[str]:
    """Check that both sides of a comparison are lines of the file, and differ."""
    lines = list(dict.fromkeys(cell.line for cell in cells))
    known = {*lines, *(cell.row for cell in cells)}
    unknown = dict.fromkeys(name for pair in comparisons for name in pair if name not in known)
    problems = [f"comparisons: found {name!r}, expected one of the lines ({', '.join(lines)})" for name in unknown]
    return problems + [f"comparisons: {line!r} is compared with itself" for line, other in comparisons if line == other]


def space_problems(spec: SearchSpec, cells: Sequence[Cell]) -> list[str]:
    """Check the spaces of a search: names, bounds in order, and ends that the settings may have."""
    problems = unused_setting_problems(cells, spec.space, "space")
    for name, row in spec.rows.items():
        own, space = [cell for cell in cells if cell.row == name], spec.space_of(row)
        problems += unused_setting_problems(own, row.space, f"rows.{name}.space")
        for cell in own[:1]:
            searched = {field: entry for field, entry in space.items() if has_setting(cell.config, field)}
            problems += [f"space: {text}" for item in searched.items() for text in _entry_problems(cell, *item)]
        if row.trees is None and isinstance(row.sampler, TreeWeights):
            problems += [
                f"space: {field} is searched for row {name!r}, which has no trees; give it to rows with trees alone, by "
                "their own `space`"
                for field in ("sampler.alpha_c", "sampler.alpha_s")
                if field in space
            ]
    return problems


def _entry_problems(cell: Cell, field: str, entry: Choices | Range) -> list[str]:
    problems, kind = list[str](), type(get_setting(cell.config, field))
    values: list[Any]
    if isinstance(entry, Choices):
        values = list(entry.choices)
    else:
        if kind not in (int, float):
            problems.append(f"{field} is no number; give `choices`")
        if entry.low >= entry.high:
            problems.append(f"{field} has low {entry.low:g} and high {entry.high:g}, expected low below high")
        if entry.log and entry.low <= 0:
            problems.append(f"{field} has log and low {entry.low:g}, expected low above 0")
        values = [int(end) if kind is int else end for end in (entry.low, entry.high)]
    for value in values:
        try:
            with_settings(cell.config, {field: value})
        except ConfigError as error:
            problems.append(str(error))
    return problems
