"""What may be wrong with the lines of tables, once these are laid out."""

from __future__ import annotations

from collections.abc import Sequence

from hardneg.studies.checks.names import Names, same_folder
from hardneg.studies.experiment_cells import Cell


def of_lines(cells: list[Cell]) -> list[str]:
    """There are some, and no two share a folder."""
    if not cells:
        return ["no run is left: `splits` and `models` of the rows exclude everything"]
    problems = []
    for split, model in dict.fromkeys((cell.split, cell.model) for cell in cells):
        lines = [cell.line for cell in cells if (cell.split, cell.model) == (split, model)]
        problems += same_folder(lines, "rows")
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


def of_comparisons(comparisons: Sequence[tuple[str, str]], cells: list[Cell]) -> list[str]:
    """Both sides are lines of the file, and differ."""
    known = list(dict.fromkeys(cell.line for cell in cells))
    named = {*known, *(cell.row for cell in cells)}
    unknown = dict.fromkeys(name for pair in comparisons for name in pair if name not in named)
    problems = [f"comparisons: found {name!r}, expected one of the lines ({', '.join(known)})" for name in unknown]
    return problems + [f"comparisons: {one!r} is held against itself" for one, other in comparisons if one == other]
