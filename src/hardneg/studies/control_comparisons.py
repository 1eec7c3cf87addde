"""Beside a study's tables: every method against its own controls, and further comparisons that the file asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from hardneg.report import tables
from hardneg.studies.experiment_cells import Cell
from hardneg.studies.runs import slug
from hardneg.studies.spec import StudySpec

Pair = tuple[str, str]
"""Two lines, the second of which is compared with."""


@dataclass(frozen=True)
class Against:
    """Pairs of lines of one table, a family of their own for Holm. file: what follows the table's name in its files."""

    title: str
    file: str
    frame: pl.DataFrame
    headers: list[str]
    cells: list[list[str]]

    @property
    def markdown(self) -> str:
        """Under a heading."""
        return f"\n### {self.title}\n\n{tables.markdown(self.headers, self.cells)}"


def beside(
    spec: StudySpec, cells: Sequence[Cell], measured: Mapping[str, tables.MethodScores], baseline: str
) -> list[Against]:
    """The tables that stand beside one. cells: of its split and model. measured: lines with seeds enough."""
    groups = [
        (f"{row} against its controls", f"against-controls-{slug(row)}", pairs)
        for row, pairs in controlled(cells, baseline).items()
    ]
    groups.append(("Further comparisons", "comparisons", _asked_for(spec, cells)))
    made = []
    for title, file, pairs in groups:
        known = [(measured[one], measured[other]) for one, other in pairs if one in measured and other in measured]
        if known:
            frame = tables.pairwise_table(known, spec.metrics)
            made.append(Against(title, file, frame, *tables.pairwise_text(frame, spec.metrics)))
    return made


def controlled(cells: Sequence[Cell], baseline: str) -> dict[str, list[Pair]]:
    """Row -> its lines with those of its controls, the rows that are `against` it, or else `tuned_as` it.

    A control of the baseline's own row is not here: the table itself compares it. Of a row with several lines a control
    is held against that with the same options, as far as both have them; fused lines against fused ones.
    """
    found: dict[str, list[Pair]] = {}
    for control in cells:
        own = [cell for cell in cells if cell.row == control.against != control.row and _alike(cell, control)]
        if own and control.line != baseline and all(cell.line != baseline for cell in own):
            found.setdefault(own[0].row, []).append((own[0].line, control.line))
    return found


def controls(cells: Sequence[Cell], baseline: str) -> list[str]:
    """Lines that are compared with what they control, and stand outside the family of the table."""
    return [control for pairs in controlled(cells, baseline).values() for _, control in pairs]


def _alike(one: Cell, other: Cell) -> bool:
    a, b = dict(one.options), dict(other.options)
    same_kind = ((one.fusion is None), one.alone) == ((other.fusion is None), other.alone)
    return same_kind and all(a[field] == b[field] for field in a.keys() & b.keys())


def _asked_for(spec: StudySpec, cells: Sequence[Cell]) -> list[Pair]:
    """Those of the file whose lines this table has."""
    lines = {name: line for asked in spec.comparisons for name in asked if (line := line_of(name, cells)) is not None}
    return [(lines[one], lines[other]) for one, other in spec.comparisons if one in lines and other in lines]


def line_of(name: str, cells: Sequence[Cell]) -> str | None:
    """The line of that name, else the first of that row; None where there is neither."""
    lines = [cell.line for cell in cells]
    return name if name in lines else next((cell.line for cell in cells if cell.row == name), None)
