"""Reading a study or search file; all of its problems are reported at once, before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hardneg.config import FieldPath, read_yaml, validate_config
from hardneg.errors import ConfigError
from hardneg.studies import problems as checks
from hardneg.studies.cells import Cell, make_cells, with_fusion, with_options
from hardneg.studies.recipes import StudyFile
from hardneg.studies.spec import Grid, SearchSpec, StudySpec
from hardneg.studies.tuned_settings import read_tuned_settings

G = TypeVar("G", bound=Grid)
Source = Path | Mapping[str, Any]
"""A YAML file, or its contents."""


def read_study(source: Source, only: Sequence[str] = ()) -> tuple[StudySpec, list[Cell]]:
    """Read and check a study, and return it with its cells.

    only: splits whose cells are returned, all by default; the folders of other splits need not exist.
    Raises ConfigError with every problem.
    """
    return _read(StudySpec, source, only, _study_cells, required_splits=only)


def read_search(source: Source, only: Sequence[str] = ()) -> tuple[SearchSpec, list[Cell]]:
    """Read and check a search, and return it with the cells of all its splits, which all have to exist.

    only: splits that must be among its own. Raises ConfigError with every problem.
    """
    return _read(SearchSpec, source, only, _search_cells)


def _read(
    kind: type[G],
    source: Source,
    only: Sequence[str],
    layout: Callable[[G, StudyFile, Sequence[str]], tuple[list[Cell], list[str]]],
    required_splits: Sequence[str] = (),
) -> tuple[G, list[Cell]]:
    values, problems = _values_of(source)
    spec, form_problems = parse_leniently(kind, values)
    problems += form_problems
    cells: list[Cell] = []
    if spec is not None:
        names = {section: _names_in(values, section) for section in checks.SECTIONS}
        file = StudyFile(spec, names, frozenset(required_splits) or names["splits"])
        problems += checks.grid_problems(file)
        problems += [
            f"--split {name}: found splits {', '.join(spec.splits)}, expected one of these"
            for name in only
            if name not in names["splits"]
        ]
        cells, layout_problems = layout(spec, file, only)
        problems += layout_problems
    if problems or spec is None:
        distinct = list(dict.fromkeys(problems))
        listed = "; ".join(f"({number}) {text}" for number, text in enumerate(distinct, start=1))
        name = source if isinstance(source, Path) else "the mapping"
        raise ConfigError(f"{name}: {len(distinct)} problem(s): {listed}")
    return spec, cells


def _values_of(source: Source) -> tuple[Any, list[str]]:
    """Return the contents of a file, and its keys that occur twice."""
    if not isinstance(source, Path):
        return dict(source), []
    if not source.is_file():
        raise ConfigError(f"{source} does not exist, expected a YAML file; see `hardneg study run --help` for one")
    return read_yaml(source)


def _names_in(values: Mapping[str, Any], section: str) -> frozenset[str]:
    entries = values.get(section)
    return frozenset(map(str, entries if isinstance(entries, dict) else ()))


def _study_cells(spec: StudySpec, file: StudyFile, only: Sequence[str]) -> tuple[list[Cell], list[str]]:
    cells = make_cells(spec)
    option_problems = checks.unused_setting_problems(cells, spec.options, "options")
    cells, problems = _with_tuned_settings(spec, [cell for cell in cells if not only or cell.split in only])
    problems += option_problems
    try:
        cells = with_fusion(with_options(cells, spec.options), spec)
    except ConfigError as error:
        return cells, [*problems, f"options: {error}"]
    problems += checks.released_mask_problems(spec, file) + checks.tree_weight_problems(cells, spec)
    problems += checks.line_problems(cells) + checks.baseline_problems(spec.baseline, cells, file)
    return cells, problems + ([] if only else checks.comparison_problems(spec.comparisons, cells))


def _with_tuned_settings(spec: StudySpec, cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """Return the cells with the settings that a search found for them."""
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
    both = sorted(set(spec.options) & tuned.fields)
    return cells, problems + [f"options: {field} was tuned by {spec.tuned}; leave it out here" for field in both]


def _search_cells(spec: SearchSpec, file: StudyFile, only: Sequence[str]) -> tuple[list[Cell], list[str]]:  # noqa: ARG001
    cells = make_cells(spec)
    return cells, checks.space_problems(spec, cells) + checks.line_problems(cells)


def parse_leniently(kind: type[G], values: Any) -> tuple[G | None, list[str]]:
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
    entries = values.get(section)
    if isinstance(entries, dict) and name in entries:
        del entries[name]
        return True
    harmless = _harmless_values(values).get(str(section))
    if section in values and entries != harmless:
        del values[section]
        return True
    if section not in values and harmless is not None:
        values[section] = harmless
        return True
    return False


def _harmless_values(values: dict[str, Any]) -> dict[str, object]:
    rows = values.get("rows")
    first = next(iter(rows), None) if isinstance(rows, dict) else None
    return {"name": "unnamed", "trials": 1} | ({} if first is None else {"baseline": first})
