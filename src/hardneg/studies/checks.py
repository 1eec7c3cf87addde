"""Checks of a study or search file beyond the form of its fields. Each returns its problems, one sentence each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from hardneg import artifacts
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.sampling import SamplerConfig, SamplerInputs, SemanticMixing, mined
from hardneg.sampling.tree_similarity import TreeWeights, tree_weights
from hardneg.studies.cells import Cell, get_setting, has_setting, with_settings
from hardneg.studies.naming import shared_folder_problems
from hardneg.studies.recipes import StudyFile
from hardneg.studies.spec import RECIPE_SECTIONS, Choices, Grid, Range, RowSpec, SearchSpec, Space, SplitSpec, StudySpec

SECTIONS = ("splits", "models", *RECIPE_SECTIONS, "rows")
"""Sections with names."""
TREE_WEIGHTS = ("sampler.alpha_c", "sampler.alpha_s")
"""Settings by which a sampler reads trees."""
NEEDS_TREES = "needs trees; name some with `trees: NAME`, or set alpha_c and alpha_s to 0"


def grid_problems(file: StudyFile) -> list[str]:
    """Check splits, recipes, rows and training settings."""
    grid, problems = file.grid, list[str]()
    for section in SECTIONS:
        problems += shared_folder_problems(getattr(grid, section), section)
    for name, split in grid.splits.items():
        problems += _split_problems(name, split) if name in file.required_splits else []
    for name, row in grid.rows.items():
        problems += [f"rows.{name}: {text}" for text in _row_problems(row, file)]
    for section in RECIPE_SECTIONS:
        for name, recipe in grid.recipes(section).items():
            problems += recipe.problems(f"{section}.{name}", file)
    fits = {"fit": grid.fit, **{f"rows.{name}.fit": row.fit for name, row in grid.rows.items()}}
    fits |= {f"splits.{name}.fit": split.fit for name, split in grid.splits.items()}
    return problems + [
        f"{where}: seed is no training setting here; the file's `seed` or `seeds` decides"
        for where, fit in fits.items()
        if "seed" in fit.model_fields_set
    ]


def _split_problems(name: str, split: SplitSpec) -> list[str]:
    try:
        notes = artifacts.read_manifest(split.folder, splits.KIND)["notes"]
        if split.truth is not None:
            artifacts.read_manifest(split.truth, datasets.KIND)
    except DataError as error:
        return [f"splits.{name}: {error}"]
    if not notes.get("valid pairs", 1):
        return [f"splits.{name}: {split.folder} has no validation pairs; split again with a valid share above 0"]
    return []


def _row_problems(row: RowSpec, file: StudyFile) -> list[str]:
    """Check the names in a row, what its sampler reads, and whether its artifacts can be made on its splits."""
    places = (("split", row.splits, "splits"), ("model", row.models, "models"))
    problems = [
        f"found {noun} {name!r}, expected one of {', '.join(sorted(file.names[section]))}"
        for noun, given, section in places
        for name in given or ()
        if name not in file.names[section]
    ]
    suspects = None if row.suspects is None else row.suspects.name
    named = (("rows", row.against), ("negatives", row.negatives), ("trees", row.trees), ("suspects", suspects))
    problems += [text for part in named for text in file.reference_problems(*part)]
    problems += _sampler_problems(row, file.grid)
    entries = [entry for named in file.grid.row_entries(row).values() for entry in named.with_dependencies(file.grid)]
    for split in filter(row.is_on, file.grid.splits):
        problems += [text for entry in entries for text in entry.recipe.problems_on(split, file.grid)]
    return problems


def _sampler_problems(row: RowSpec, grid: Grid) -> list[str]:
    """Check that a row names exactly what its sampler reads."""
    name, problems = f"sampler {row.sampler.kind!r}", list[str]()
    if needs_negatives(row.sampler):
        if row.negatives is None:
            problems.append(f"{name} needs negatives; name some with `negatives: NAME`")
    elif row.negatives is not None:
        problems.append(f"{name} uses no negatives; leave `negatives` out")
    recipe = grid.negatives.get(row.negatives or "")
    if recipe is not None and recipe.makes is not None:
        mixes, has_neighbours = isinstance(row.sampler, SemanticMixing), recipe.makes == mined.NEIGHBOURS
        if mixes and not has_neighbours:
            problems.append(f"{name} needs neighbours; name some of `method: neighbours`")
        if has_neighbours and not mixes:
            problems.append(f"{name} uses no neighbours; name negatives of another method")
    return problems + _trees_problems(row)


def _trees_problems(row: RowSpec) -> list[str]:
    name = f"sampler {row.sampler.kind!r}"
    if row.trees is not None and tree_weights(row.sampler) is None:
        return [f"{name} uses no trees; leave `trees` out"]
    return [f"{name} {NEEDS_TREES}"] if row.trees is None and _reads_trees(row.sampler) else []


def needs_negatives(sampler: SamplerConfig) -> bool:
    """Return True where a sampler cannot be built without mined negatives or neighbours."""
    if isinstance(sampler, TreeWeights):
        return False  # it may need trees
    try:
        sampler.build(SamplerInputs(1, None, 0))
    except ConfigError:
        return True
    return False


def _reads_trees(sampler: SamplerConfig) -> bool:
    weights = tree_weights(sampler)
    return weights is not None and weights.reads_trees


def released_mask_problems(spec: StudySpec, file: StudyFile) -> list[str]:
    """Check that the mask names suspects which can be made wherever no folder is given."""
    names = file.reference_problems("suspects", spec.released_mask)
    problems = [f"released_mask: {text}" for text in names]
    entry = spec.entry("suspects", spec.released_mask)
    if entry is None or entry.recipe.exists:
        return problems
    on_splits = [(split, part) for split in spec.splits for part in entry.with_dependencies(spec)]
    return problems + [
        f"released_mask: {text}" for split, part in on_splits for text in part.recipe.problems_on(split, spec)
    ]


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
        problems += shared_folder_problems(lines, "rows")
        repeated = {line for line in lines if lines.count(line) > 1}
        problems += [
            f"rows: two lines are called {line!r}; rename one, or let one row alone have it" for line in repeated
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
        problems += [text for cell in own[:1] for text in _values_problems(cell, space)]
        if row.trees is None and isinstance(row.sampler, TreeWeights):
            problems += [
                f"space: {field} is searched for row {name!r}, which has no trees; give it to rows with trees alone, by "
                "their own `space`"
                for field in TREE_WEIGHTS
                if field in space
            ]
    return problems


def _values_problems(cell: Cell, space: Space) -> list[str]:
    problems = []
    for field, entry in space.items():
        if not has_setting(cell.config, field):
            continue
        if isinstance(entry, Range):
            problems += _range_problems(cell, field, entry)
        for value in _ends(cell, field, entry):
            try:
                with_settings(cell.config, {field: value})
            except ConfigError as error:
                problems.append(f"space: {error}")
    return problems


def _ends(cell: Cell, field: str, entry: Choices | Range) -> list[Any]:
    if isinstance(entry, Choices):
        return list(entry.choices)
    ends: list[float] = [entry.low, entry.high]
    return [int(end) for end in ends] if type(get_setting(cell.config, field)) is int else ends


def _range_problems(cell: Cell, field: str, entry: Range) -> list[str]:
    problems = []
    if type(get_setting(cell.config, field)) not in (int, float):
        problems.append(f"space: {field} is no number; give `choices`")
    if entry.low >= entry.high:
        problems.append(f"space: {field} has low {entry.low:g} and high {entry.high:g}, expected low below high")
    if entry.log and entry.low <= 0:
        problems.append(f"space: {field} has log and low {entry.low:g}, expected low above 0")
    return problems
