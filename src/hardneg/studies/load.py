"""Reading a study or search file into cells; all of its problems are reported at once, before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, TypeVar

from hardneg.config import FieldPath, validate_config
from hardneg.errors import ConfigError
from hardneg.models import ModelConfig, TextModelConfig
from hardneg.pipeline import RunConfig, SuspectsUse
from hardneg.studies import checks
from hardneg.studies.cells import Cell, has_setting, with_settings
from hardneg.studies.ready_studies import FilledSource, Source, fill_source
from hardneg.studies.recipes import Entry, StudyFile
from hardneg.studies.recipes.implied import TextVectorsRecipe
from hardneg.studies.spec import Grid, RowSpec, Scalar, SearchSpec, StudySpec
from hardneg.studies.tuned_settings import read_tuned_settings
from hardneg.training import FitConfig

G = TypeVar("G", bound=Grid)
AnySource = Source | FilledSource


def read_study(source: AnySource, only: Sequence[str] = ()) -> tuple[StudySpec, list[Cell]]:
    """Read and check a study, and return it with its cells.

    only: splits whose cells are returned, all by default; the folders of other splits need not exist. For a file without
    splits of its own, their folders. Raises ConfigError with every problem.
    """
    filled = source if isinstance(source, FilledSource) else fill_source(source, only)
    return _read(StudySpec, filled, _study_cells, filled.only)


def read_search(source: AnySource, only: Sequence[str] = ()) -> tuple[SearchSpec, list[Cell]]:
    """Read and check a search, and return it with the cells of all its splits, which all have to exist.

    only: splits that must be among its own. Raises ConfigError with every problem.
    """
    filled = source if isinstance(source, FilledSource) else fill_source(source, only)
    return _read(SearchSpec, filled, _search_cells)


def _read(
    kind: type[G],
    source: FilledSource,
    make_cells: Callable[[G, StudyFile, Sequence[str]], tuple[list[Cell], list[str]]],
    required_splits: Sequence[str] = (),
) -> tuple[G, list[Cell]]:
    values, only = source.values, source.only
    spec, form_problems = _parse_leniently(kind, values)
    problems = source.problems + form_problems
    cells: list[Cell] = []
    if spec is not None:
        mappings = {section: values.get(section) for section in checks.SECTIONS}
        names = {
            section: frozenset(map(str, mapping if isinstance(mapping, dict) else ()))
            for section, mapping in mappings.items()
        }
        file = StudyFile(spec, names, frozenset(required_splits) or names["splits"])
        problems += checks.grid_problems(file)
        problems += [
            f"--split {name}: found splits {', '.join(spec.splits)}, expected one of these"
            for name in only
            if name not in names["splits"]
        ]
        cells, cell_problems = make_cells(spec, file, only)
        problems += cell_problems
    if problems or spec is None:
        distinct = list(dict.fromkeys(problems))
        listed = "; ".join(f"({number}) {text}" for number, text in enumerate(distinct, start=1))
        raise ConfigError(f"{source.title}: {len(distinct)} problem(s): {listed}")
    return spec, cells


def _study_cells(spec: StudySpec, file: StudyFile, only: Sequence[str]) -> tuple[list[Cell], list[str]]:
    cells = _make_cells(spec)
    option_problems = checks.unused_setting_problems(cells, spec.options, "options")
    cells, problems = _with_tuned_settings(spec, [cell for cell in cells if not only or cell.split in only])
    problems += option_problems
    try:
        cells = _with_fusion(_with_options(cells, spec.options), spec)
        cells += _popularity_cells(cells) if spec.popularity else []
    except ConfigError as error:
        return cells, [*problems, f"options: {error}"]
    problems += checks.released_mask_problems(spec, file) + checks.tree_weight_problems(cells, spec)
    problems += checks.line_problems(cells) + checks.baseline_problems(spec.baseline, cells, file)
    return cells, problems + ([] if only else checks.comparison_problems(spec.comparisons, cells))


def _with_tuned_settings(spec: StudySpec, cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    if spec.tuned is None:
        return cells, []
    try:
        tuned = read_tuned_settings(spec.tuned)
    except ConfigError as error:
        return cells, [f"tuned: {error}"]
    cells, problems = tuned.applied(cells, {name: split.folder for name, split in spec.splits.items()})
    if tuned.seed in spec.seeds:
        problems.append(
            f"seeds: {tuned.seed} is that of search {tuned.search!r}, whose validation values chose the settings; leave it "
            "out"
        )
    both = sorted(field for field in spec.options if any(field in trial.settings for trial in tuned.by_row.values()))
    return cells, problems + [f"options: {field} was tuned by {spec.tuned}; leave it out here" for field in both]


def _search_cells(spec: SearchSpec, file: StudyFile, only: Sequence[str]) -> tuple[list[Cell], list[str]]:  # noqa: ARG001
    cells = _make_cells(spec)
    return cells, checks.space_problems(spec, cells) + checks.line_problems(cells)


def _make_cells(grid: Grid) -> list[Cell]:
    """Return a cell for every split x model x row that the file asks for, in its order."""
    return [
        Cell(
            split,
            model,
            name,
            RunConfig(
                model=row.model_with(backbone),
                sampler=row.sampler,
                fit=_merge_fit(grid.fit, split_spec.fit, row.fit),
                baseline=row.baseline,
                suspects=row.suspects and SuspectsUse.model_validate(row.suspects.model_dump(exclude={"name"})),
            ),
            {**grid.row_entries(row), **_text_entries(row, row.model_with(backbone), grid)},
            tuned_as=row.tuned_as,
            against=row.against or row.tuned_as,
        )
        for (split, split_spec), (model, backbone), (name, row) in product(
            grid.splits.items(), grid.models.items(), grid.rows.items()
        )
        if grid.has_line(split, model, row)
    ]


def _text_entries(row: RowSpec, model: ModelConfig, grid: Grid) -> dict[str, Entry]:
    """Return the text vectors of a model that reads text."""
    if row.baseline is not None or not isinstance(model, TextModelConfig):
        return {}
    return {"vectors": TextVectorsRecipe.of(row.texts or grid.texts).implied}


def _merge_fit(*fits: FitConfig) -> FitConfig:
    """Return training settings, each of which replaces those before it."""
    return FitConfig.model_validate({name: getattr(fit, name) for fit in fits for name in fit.model_fields_set})


def _with_options(cells: list[Cell], options: Mapping[str, tuple[Scalar, ...]]) -> list[Cell]:
    varied = []
    for cell in cells:
        own = [
            [(field, value) for value in values] for field, values in options.items() if has_setting(cell.config, field)
        ]
        for combination in product(*own):
            config = with_settings(cell.config, dict(combination))
            varied.append(replace(cell, options=combination, config=config))
    return varied


def _with_fusion(cells: list[Cell], grid: Grid) -> list[Cell]:
    """Return the cells, each followed by its fusion with text and its reranking, and once by text alone, as asked for."""
    extended, with_text_only = list[Cell](), set[tuple[str, str, str, str]]()
    for cell in cells:
        fused, alone = list[Cell](), list[Cell]()
        for fusion in grid.rows[cell.row].fusion:
            texts, place = {"vectors": TextVectorsRecipe.of(fusion).implied}, (*cell.table, cell.row, fusion.label)
            fused.append(replace(cell, fusion=fusion, entries={**cell.entries, **texts}))
            if fusion.alone and place not in with_text_only:
                alone.append(replace(cell, fusion=fusion, entries=texts, options=(), alone=True))
                with_text_only.add(place)
        extended += [cell, *fused, *_reranked([cell, *fused], grid), *alone]
    return extended


def _popularity_cells(cells: Sequence[Cell]) -> list[Cell]:
    """Return a cell of the most popular items for each table."""
    firsts = {cell.table: cell for cell in reversed(cells)}
    return [Cell(*table, first.row, first.config, {}, popular=True) for table, first in reversed(firsts.items())]


def _reranked(cells: list[Cell], grid: Grid) -> list[Cell]:
    """Return a cell for each of these cells and each judge by which its row asks for reranking."""
    spec = grid.rows[cells[0].row].rerank
    if spec is None:
        return []
    judges = [(name, grid.entry("suspects", name)) for name in spec.suspects]
    return [
        replace(cell, rerank=spec, judged=name, entries={**cell.entries, "judged": entry})
        for name, entry in judges
        for cell in cells
        if entry is not None  # else a problem of the row
    ]


def _parse_leniently(kind: type[G], values: Any) -> tuple[G | None, list[str]]:
    """Validate values, and leave out what is wrong, so that the rest can be checked as well.

    Returns what could be parsed (None where nothing could), and the problems.
    """
    spec, invalid = validate_config(kind, values)
    problems = [f"{'.'.join(map(str, path)) or 'the file'}: {message}" for path, message in invalid]
    values = copy.deepcopy(values)
    while spec is None and any(_leave_out(values, path) for path, _ in invalid):
        spec, invalid = validate_config(kind, values)
    return spec, problems


def _leave_out(values: Any, path: FieldPath) -> bool:
    """Drop the invalid entry, or replace it by a harmless one; return True where that changed anything."""
    if not path or not isinstance(values, dict):
        return False
    section, name = path[0], path[1] if len(path) > 1 else None
    entries, rows = values.get(section), values.get("rows")
    baseline = next(iter(rows), None) if isinstance(rows, dict) else None
    harmless = {"name": "unnamed", "trials": 1, "baseline": baseline}.get(str(section))
    if isinstance(entries, dict) and name in entries:
        del entries[name]
    elif section in values and entries != harmless:
        del values[section]
    elif section not in values and harmless is not None:
        values[section] = harmless
    else:
        return False
    return True
