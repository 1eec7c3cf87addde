"""A study or a search from its file: everything that is wrong with it is said at once, before anything runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from hardneg.config import FieldPath, read_yaml, validate_config
from hardneg.errors import ConfigError
from hardneg.studies import checks
from hardneg.studies.checks import Names
from hardneg.studies.experiment_cells import Cell, cells_of, has, with_fusion, with_options
from hardneg.studies.spec import Grid, SearchSpec, StudySpec, applied
from hardneg.studies.tuned_settings import read_best

G = TypeVar("G", bound=Grid)


def read_study(path: Path, only: Sequence[str] = ()) -> tuple[StudySpec, list[Cell]]:
    """Read, check and lay out a study; the cells of some splits alone where `only` names these, and then the folders of
    others need not stand. Raises ConfigError with every problem."""
    return _read(StudySpec, path, only, _study, standing=only)


def read_search(path: Path, only: Sequence[str] = ()) -> tuple[SearchSpec, list[Cell]]:
    """Read, check and lay out a search; only: splits that must be among its own. All folders have to stand, since what it
    writes is of the whole file. Raises ConfigError with every problem."""
    return _read(SearchSpec, path, only, _search)


def _read(
    kind: type[G],
    path: Path,
    only: Sequence[str],
    lay_out: Callable[[G, Names, Sequence[str]], tuple[list[Cell], list[str]]],
    standing: Sequence[str] = (),
) -> tuple[G, list[Cell]]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist, expected a YAML file; see `hardneg study --help` for one")
    values, problems = read_yaml(path)
    spec, more = salvaged(kind, values)
    problems += more
    cells: list[Cell] = []
    if spec is not None:
        names = Names.of(values, standing)
        problems += checks.of_grid(spec, names)
        problems += [
            f"--split {name}: found splits {', '.join(spec.splits)}, expected one of these"
            for name in only
            if name not in names.splits
        ]
        cells, more = lay_out(spec, names, only)
        problems += more
    if problems or spec is None:
        listed = "; ".join(f"({number}) {text}" for number, text in enumerate(dict.fromkeys(problems), start=1))
        raise ConfigError(f"{path}: {len(dict.fromkeys(problems))} problem(s): {listed}")
    return spec, cells


def _study(spec: StudySpec, names: Names, only: Sequence[str]) -> tuple[list[Cell], list[str]]:
    cells = cells_of(spec)
    unused = _unused(cells, list(spec.options), "options")
    cells, problems = _tuned(spec, [cell for cell in cells if not only or cell.split in only])
    problems += unused
    try:
        cells = with_fusion(with_options(cells, spec.options), spec)
    except ConfigError as error:
        return cells, [*problems, f"options: {error}"]
    problems += checks.of_released_mask(spec, names) + checks.of_views(cells, spec, "options")
    problems += checks.of_lines(cells) + checks.of_baseline(spec.baseline, cells, names)
    return cells, problems + ([] if only else checks.of_comparisons(spec.comparisons, cells))


def _tuned(spec: StudySpec, cells: list[Cell]) -> tuple[list[Cell], list[str]]:
    """The cells with the settings that a search found for them."""
    if spec.tuned is None:
        return cells, []
    try:
        best = read_best(spec.tuned)
    except ConfigError as error:
        return cells, [f"tuned: {error}"]
    found, problems = best.applied(cells, {name: split.folder for name, split in spec.splits.items()})
    if best.seed in spec.seeds:
        problems.append(
            f"seeds: {best.seed} is that of search {best.search!r}, whose validation values chose the settings; leave it out"
        )
    both = sorted(set(spec.options) & best.fields)
    return found, problems + [f"options: {field} was tuned by {spec.tuned}; leave it out here" for field in both]


def _search(spec: SearchSpec, names: Names, only: Sequence[str]) -> tuple[list[Cell], list[str]]:  # noqa: ARG001 - as `_study`
    cells = cells_of(spec)
    problems = _unused(cells, list(spec.space), "space") + checks.of_weights_searched(spec)
    for name, row in spec.rows.items():
        own = [cell for cell in cells if cell.row == name]
        problems += _unused(own, list(row.space), f"rows.{name}.space")
        problems += [text for cell in own[:1] for text in checks.of_space(cell, applied(spec.space, row))]
    return cells, problems + checks.of_lines(cells)


def _unused(cells: list[Cell], fields: list[str], where: str) -> list[str]:
    """A setting that nothing has was misspelt."""
    return [
        f"{where}: no row or model has the setting {field!r}; check its name"
        for field in fields
        if not any(has(cell.config, field) for cell in cells)
    ]


def salvaged(kind: type[G], values: Any) -> tuple[G | None, list[str]]:
    """Validate; where that fails, leave out what is wrong, so that the rest can be checked as well.

    Returns what could be read (None where nothing could), and the problems.
    """
    found, wrong = validate_config(kind, values)
    problems = [f"{'.'.join(map(str, place)) or 'the file'}: {message}" for place, message in wrong]
    values = copy.deepcopy(values)
    while found is None and any(_left_out(values, place) for place, _ in wrong):
        found, wrong = validate_config(kind, values)
    return found, problems


def _left_out(values: Any, place: FieldPath) -> bool:
    """Drop the entry at fault, or put something harmless in its place; True where that changed anything."""
    if not place or not isinstance(values, dict):
        return False
    section, inner = place[0], place[1] if len(place) > 1 else None
    held = values.get(section)
    if isinstance(held, dict) and inner in held:
        del held[inner]
        return True
    harmless = _harmless(values).get(str(section))
    if section in values and held != harmless:
        del values[section]
        return True
    if section not in values and harmless is not None:
        values[section] = harmless
        return True
    return False


def _harmless(values: dict[str, Any]) -> dict[str, object]:
    rows = values.get("rows")
    first = next(iter(rows), None) if isinstance(rows, dict) else None
    return {"name": "unnamed", "trials": 1} | ({} if first is None else {"baseline": first})
