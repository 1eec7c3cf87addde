"""What may be wrong with the space of a search."""

from __future__ import annotations

from typing import Any

from hardneg.errors import ConfigError
from hardneg.studies.experiment_cells import Cell, changed, has, setting
from hardneg.studies.spec import Choices, Range, Space


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
