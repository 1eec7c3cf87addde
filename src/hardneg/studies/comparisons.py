"""Tables beside those of a study: every method compared with its own controls, and further pairs of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from hardneg.report import printers, tables
from hardneg.studies.cells import Cell
from hardneg.studies.naming import slug
from hardneg.studies.spec import StudySpec

LinePair = tuple[str, str]
"""Two lines; the first is compared with the second."""


@dataclass(frozen=True)
class PairTable:
    """Pairs of lines of one table, with a Holm correction of their own. file: suffix of the table's name in its files."""

    title: str
    file: str
    frame: pl.DataFrame
    headers: list[str]
    cells: list[list[str]]

    @property
    def markdown(self) -> str:
        """The table under a heading."""
        return f"\n### {self.title}\n\n{printers.markdown(self.headers, self.cells)}"


def pair_tables(
    spec: StudySpec, cells: Sequence[Cell], scores: Mapping[str, tables.MethodScores], baseline: str
) -> list[PairTable]:
    """Return the tables beside one. cells: those of its split and model. scores: lines with enough seeds."""
    groups = [
        (f"{row} against its controls", f"against-controls-{slug(row)}", pairs)
        for row, pairs in pairs_with_controls(cells, baseline).items()
    ]
    groups.append(("Further comparisons", "comparisons", _pairs_of_file(spec, cells)))
    beside = []
    for title, file, pairs in groups:
        known = [(scores[line], scores[other]) for line, other in pairs if line in scores and other in scores]
        if known:
            frame = tables.pairwise_table(known, spec.metrics)
            beside.append(PairTable(title, file, frame, *printers.pairwise_text(frame, spec.metrics)))
    return beside


def pairs_with_controls(cells: Sequence[Cell], baseline: str) -> dict[str, list[LinePair]]:
    """Return row -> pairs of its lines and their controls: lines of rows `against` it, or else `tuned_as` it.

    Controls of the baseline's row are left out: the table itself compares them. Where a row has several lines, a control
    belongs to the one with the same options, as far as both have them; fused lines belong to fused ones.
    """
    pairs: dict[str, list[LinePair]] = {}
    for control in cells:
        own = [cell for cell in cells if cell.row == control.against != control.row and _match(cell, control)]
        if own and control.line != baseline and all(cell.line != baseline for cell in own):
            pairs.setdefault(own[0].row, []).append((own[0].line, control.line))
    return pairs


def control_lines(cells: Sequence[Cell], baseline: str) -> list[str]:
    """Return the lines that are compared with what they control, and are outside the Holm correction of the table."""
    return [control for pairs in pairs_with_controls(cells, baseline).values() for _, control in pairs]


def _match(cell: Cell, control: Cell) -> bool:
    options, others = dict(cell.options), dict(control.options)
    same_kind = (cell.fusion is None, cell.alone) == (control.fusion is None, control.alone)
    return same_kind and all(options[field] == others[field] for field in options.keys() & others.keys())


def _pairs_of_file(spec: StudySpec, cells: Sequence[Cell]) -> list[LinePair]:
    """Return the comparisons of the file whose lines this table has."""
    pairs = [(find_line(name, cells), find_line(other, cells)) for name, other in spec.comparisons]
    return [(line, other) for line, other in pairs if line is not None and other is not None]


def find_line(name: str, cells: Sequence[Cell]) -> str | None:
    """Return the line of that name, else the first of that row; None where there is neither."""
    lines = [cell.line for cell in cells]
    return name if name in lines else next((cell.line for cell in cells if cell.row == name), None)
