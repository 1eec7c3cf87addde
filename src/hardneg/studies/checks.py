"""What may be wrong with a grid besides its form. Every check returns its problems, one sentence each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data import dataset as datasets
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.negatives import Ingredients, MixGCF, SamplerConfig, Smoothed, suspects
from hardneg.negatives.given import kind_of
from hardneg.studies.cells import Cell, changed, has, setting
from hardneg.studies.learnt import FromLabelsSpec, LabelsSpec, SynthesisedSpec
from hardneg.studies.runs import slug
from hardneg.studies.spec import (
    Choices,
    GivenSpec,
    Grid,
    LikeSpec,
    NegativesSpec,
    NeighboursSpec,
    Range,
    RetrievedSpec,
    RowSpec,
    Space,
    SplitSpec,
    StudySpec,
)


@dataclass(frozen=True)
class Names:
    """What the file names, entries with problems of their own included."""

    splits: frozenset[str]
    models: frozenset[str]
    negatives: frozenset[str]
    rows: frozenset[str]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Names:
        """From the file as it was read."""
        sections = (values.get(section) for section in ("splits", "models", "negatives", "rows"))
        return cls(
            *(frozenset(map(str, section)) if isinstance(section, dict) else frozenset() for section in sections)
        )


def of_grid(grid: Grid, names: Names) -> list[str]:
    """What studies and searches share."""
    problems = []
    for section in ("splits", "models", "negatives", "rows"):
        problems += _same_folder(getattr(grid, section), section)
    for name, split in grid.splits.items():
        problems += _of_split(name, split)
    for name, row in grid.rows.items():
        problems += _of_row(name, row, names) + _of_negatives_use(name, row, grid) + _of_suspects_use(name, row, grid)
    problems += _of_negatives(grid, names)
    for name, given in grid.suspects.items():
        problems += _of_folders(f"suspects.{name}", given.folders, names, lambda _: suspects.KIND)
    fits = {"fit": grid.fit, **{f"rows.{name}.fit": row.fit for name, row in grid.rows.items()}}
    fits |= {f"splits.{name}.fit": split.fit for name, split in grid.splits.items()}
    return problems + [
        f"{where}: seed is no training setting here; the file's `seed` or `seeds` decides"
        for where, fit in fits.items()
        if "seed" in fit.model_fields_set
    ]


def _same_folder(names: Iterable[str], section: str) -> list[str]:
    """Names that differ in signs alone would share a folder."""
    seen: dict[str, str] = {}
    problems = []
    for name in names:
        other = seen.setdefault(slug(name), name)
        if other != name:
            problems.append(f"{section}: {other!r} and {name!r} would share the folder {slug(name)!r}; rename one")
    return problems


def _of_split(name: str, split: SplitSpec) -> list[str]:
    try:
        notes = artifacts.manifest_of(split.folder, splits.KIND)["notes"]
        if split.truth is not None:
            artifacts.manifest_of(split.truth, datasets.KIND)
    except DataError as error:
        return [f"splits.{name}: {error}"]
    if not notes.get("valid pairs", 1):
        return [f"splits.{name}: {split.folder} has no validation pairs; split again with a valid share above 0"]
    return []


def _of_row(name: str, row: RowSpec, names: Names) -> list[str]:
    problems = []
    for what, given, known in (("split", row.splits, names.splits), ("model", row.models, names.models)):
        problems += [
            f"rows.{name}: found {what} {wanted!r}, expected one of {', '.join(sorted(known))}"
            for wanted in given or ()
            if wanted not in known
        ]
    if row.negatives is not None and row.negatives not in names.negatives:
        named = ", ".join(sorted(names.negatives)) or "none is named"
        problems.append(f"rows.{name}: found negatives {row.negatives!r}, expected a name under `negatives` ({named})")
    if needs_negatives(row.sampler) and row.negatives is None:
        problems.append(f"rows.{name}: sampler {row.sampler.kind!r} needs negatives; name some with `negatives: NAME`")
    if row.negatives is not None and not needs_negatives(row.sampler):
        problems.append(f"rows.{name}: sampler {row.sampler.kind!r} uses no negatives; leave `negatives` out")
    return problems


def needs_negatives(sampler: SamplerConfig) -> bool:
    """True where a sampler cannot be built without mined negatives."""
    try:
        sampler.build(Ingredients(1, None, 0))
    except ConfigError:
        return True
    return False


def _of_negatives_use(name: str, row: RowSpec, grid: Grid) -> list[str]:
    """Are there texts, or a folder, on every split where the row's negatives are wanted?"""
    spec = grid.negatives.get(row.negatives or "")
    if isinstance(spec, LikeSpec):
        spec = grid.negatives.get(spec.like)
    problems = []
    for split, chosen in grid.splits.items():
        if row.splits is not None and split not in row.splits:
            continue
        if isinstance(spec, GivenSpec) and split not in spec.folders:
            problems.append(f"rows.{name}: no negatives folder is given for split {split!r}")
        if _reads_texts(spec) and not _has_texts(chosen.folder):
            problems.append(
                f"rows.{name}: split {split!r} has no item texts to retrieve from; restrict the row with `splits`"
            )
        if isinstance(spec, SynthesisedSpec | FromLabelsSpec) and not _has_line(grid, split, spec.labels):
            problems.append(
                f"rows.{name}: labels come from row {spec.labels.row!r} with {spec.labels.model!r}, which is left out "
                f"on split {split!r}; see its `splits` and `models`"
            )
    return problems + _of_kind(name, row, spec)


def _has_line(grid: Grid, split: str, labels: LabelsSpec) -> bool:
    """False where the row that labels come from is restricted to other splits or models."""
    row = grid.rows.get(labels.row)
    if row is None:
        return True  # said elsewhere
    return (row.splits is None or split in row.splits) and (row.models is None or labels.model in row.models)


def _reads_texts(spec: NegativesSpec | None) -> bool:
    """True where item texts are needed to make it."""
    if isinstance(spec, SynthesisedSpec):
        return spec.reads_texts
    return isinstance(spec, RetrievedSpec) or (isinstance(spec, NeighboursSpec) and spec.by == "text")


def _of_kind(name: str, row: RowSpec, spec: NegativesSpec | None) -> list[str]:
    """The sampler "smoothed" needs neighbours of items, others negatives; what given folders hold shows when read."""
    if spec is None or isinstance(spec, GivenSpec):
        return []
    if isinstance(row.sampler, Smoothed) and not isinstance(spec, NeighboursSpec):
        return [f"rows.{name}: sampler 'smoothed' needs neighbours; name some of `method: neighbours`"]
    if isinstance(spec, NeighboursSpec) and not isinstance(row.sampler, Smoothed):
        return [f"rows.{name}: sampler {row.sampler.kind!r} uses no neighbours; name negatives of another method"]
    return []


def _has_texts(folder: Path) -> bool:
    """True where items have texts, or where that cannot be known (which another check tells)."""
    path = folder / "items.parquet"
    return not path.is_file() or any(name in c.TEXT for name in pl.read_parquet_schema(path))


def _of_negatives(grid: Grid, names: Names) -> list[str]:
    problems = []
    for name, spec in grid.negatives.items():
        if isinstance(spec, LikeSpec):
            problems += [f"negatives.{name}: like {spec.like!r} {text}" for text in _of_like(spec, grid, names)]
        elif isinstance(spec, GivenSpec):
            problems += _of_folders(f"negatives.{name}", spec.folders, names, kind_of)
        elif isinstance(spec, SynthesisedSpec | FromLabelsSpec):
            problems += [f"negatives.{name}: labels: {text}" for text in _of_labels(spec.labels, grid, names)]
        if isinstance(spec, SynthesisedSpec):
            problems += _of_base(name, spec)
    return problems


def _of_like(spec: LikeSpec, grid: Grid, names: Names) -> list[str]:
    like = grid.negatives.get(spec.like)
    if spec.like not in names.negatives:
        return ["is no name under `negatives`"]
    if isinstance(like, LikeSpec):
        return [f"is {like.method} itself; take what that is like"]
    if isinstance(like, NeighboursSpec):
        return ["is neighbours, which have no vectors to be like"]
    return []


def _of_labels(labels: LabelsSpec, grid: Grid, names: Names) -> list[str]:
    problems = []
    for what, given, known in (("model", labels.model, names.models), ("row", labels.row, names.rows)):
        if given not in known:
            problems.append(f"found {what} {given!r}, expected one of {', '.join(sorted(known))}")
    row = grid.rows.get(labels.row)
    if row is not None and not isinstance(row.sampler, MixGCF):
        problems.append(
            f"row {labels.row!r} has sampler {row.sampler.kind!r}, expected 'mixgcf', whose negatives labels are"
        )
    return problems


def _of_base(name: str, spec: SynthesisedSpec) -> list[str]:
    """What is set must mean something to the base."""
    try:
        spec.config().settings(spec.base)
    except ConfigError as error:
        return [f"negatives.{name}: {error}"]
    return []


def _of_folders(where: str, folders: Mapping[str, Path], names: Names, kind: Callable[[Path], str]) -> list[str]:
    problems = []
    for split, folder in folders.items():
        if split not in names.splits:
            problems.append(f"{where}: {split!r} is no name under `splits`")
        try:
            artifacts.manifest_of(folder, kind(folder))
        except DataError as error:
            problems.append(f"{where}: {error}")
    return problems


def _of_suspects_use(name: str, row: RowSpec, grid: Grid) -> list[str]:
    """Is there a suspects folder of that name on every split of the row?"""
    if row.suspects is None:
        return []
    wanted, spec = row.suspects.name, grid.suspects.get(row.suspects.name)
    if spec is None:
        named = ", ".join(grid.suspects) or "none is named"
        return [f"rows.{name}: found suspects {wanted!r}, expected a name under `suspects` ({named})"]
    return [
        f"rows.{name}: no suspects folder is given for split {split!r}"
        for split in grid.splits
        if split not in spec.folders and (row.splits is None or split in row.splits)
    ]


def of_released_mask(spec: StudySpec) -> list[str]:
    """It names suspects of the file."""
    if spec.released_mask is None or spec.released_mask in spec.suspects:
        return []
    named = ", ".join(spec.suspects) or "none is named"
    return [f"released_mask: found {spec.released_mask!r}, expected a name under `suspects` ({named})"]


def of_lines(cells: list[Cell]) -> list[str]:
    """There are some, and no two share a folder."""
    if not cells:
        return ["no run is left: `splits` and `models` of the rows exclude everything"]
    problems = []
    for split, model in dict.fromkeys((cell.split, cell.model) for cell in cells):
        lines = [cell.line for cell in cells if (cell.split, cell.model) == (split, model)]
        problems += _same_folder(lines, "rows")
        twice = {line for line in lines if lines.count(line) > 1}
        problems += [f"rows: two lines are called {line!r}; rename one, or let one row alone have it" for line in twice]
    return problems


def of_baseline(baseline: str, cells: list[Cell], names: Names) -> list[str]:
    """Every table has a line of the baseline."""
    if baseline in names.rows and not any(cell.row == baseline for cell in cells):
        return []  # a row with problems of its own
    if all(baseline not in (cell.row, cell.line) for cell in cells):
        known = ", ".join(dict.fromkeys(cell.line for cell in cells))
        return [f"baseline: found {baseline!r}, expected one of the rows ({known})"]
    tables = dict.fromkeys((cell.split, cell.model) for cell in cells)
    with_it = {(cell.split, cell.model) for cell in cells if baseline in (cell.row, cell.line)}
    return [
        f"baseline: {baseline!r} has no line on {split} / {model}; drop its `splits` or `models`"
        for split, model in tables
        if (split, model) not in with_it
    ]


def of_space(cell: Cell, space: Space) -> list[str]:
    """Bounds in order, and every end or choice a value that the setting may have."""
    problems = []
    for field, entry in space.items():
        if not has(cell.config, field):
            continue
        if isinstance(entry, Range):
            problems += _of_range(cell, field, entry)
        for value in _ends(cell, field, entry):
            try:
                changed(cell.config, {field: value})
            except ConfigError as error:
                problems.append(f"space: {error}")
    return problems


def _ends(cell: Cell, field: str, entry: Choices | Range) -> list[Any]:
    if isinstance(entry, Choices):
        return list(entry.choices)
    ends: list[float] = [entry.low, entry.high]
    return [int(end) for end in ends] if type(setting(cell.config, field)) is int else ends


def _of_range(cell: Cell, field: str, entry: Range) -> list[str]:
    problems = []
    if type(setting(cell.config, field)) not in (int, float):
        problems.append(f"space: {field} is no number; give `choices`")
    if entry.low >= entry.high:
        problems.append(f"space: {field} has low {entry.low:g} and high {entry.high:g}, expected low below high")
    if entry.log and entry.low <= 0:
        problems.append(f"space: {field} has log and low {entry.low:g}, expected low above 0")
    return problems
