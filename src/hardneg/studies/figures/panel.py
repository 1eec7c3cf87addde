"""Contents of the charts of a figure: the finished lines of one split and model, and tests between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import special

from hardneg.evaluation.significance import MIN_SEEDS
from hardneg.report import tables
from hardneg.report.figure_data import POINTS
from hardneg.report.printers import metric_label
from hardneg.report.tables import BETTER, UNDECIDED, WORSE, MethodScores
from hardneg.studies.cells import Cell
from hardneg.studies.comparisons import ComparisonTable, find_line
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.runs import RunTask, collect_scores
from hardneg.types import Floats

if TYPE_CHECKING:
    from hardneg.studies.study import PlannedRun, Study

INTERVALS = "Whiskers and bands are 95 % intervals of the mean over seeds."
TESTS = "Tests resample users and seeds; p < .05 after Holm over all comparisons of this chart."
WORDS = {BETTER: "better at {places}", WORSE: "worse at {places}", UNDECIDED: "no significant difference at {places}"}
UNTESTED_REMARK = f"Not tested: fewer than {MIN_SEEDS} seeds."


@dataclass(frozen=True)
class Panel:
    """The finished lines of one split and model. table: their comparison with the baseline."""

    study: Study
    split: str
    model: str
    runs: Mapping[str, list[RunTask]]
    cells: Mapping[str, Cell]
    table: ComparisonTable

    @property
    def metric(self) -> str:
        """The metric that decides."""
        return self.study.spec.metrics[0]

    @property
    def label(self) -> str:
        """Its name for people."""
        return metric_label(self.metric)

    @property
    def title(self) -> str:
        """The split and the model."""
        return f"{self.split}, {self.model}"

    @cached_property
    def scores(self) -> dict[str, MethodScores]:
        """Line -> values of its finished runs."""
        return {
            line: collect_scores(own[0].row, [task.seed for task in own], own[0].runs_dir)
            for line, own in self.runs.items()
        }

    @cached_property
    def baseline(self) -> str | None:
        """The line of the baseline; None where it has no finished run."""
        line = find_line(self.study.spec.baseline, list(self.cells.values()))
        return line if line in self.runs else None

    def shown(self, spec: FigureSpec) -> list[str]:
        """Return the finished lines that a figure draws."""
        return [line for line, cell in self.cells.items() if not spec.rows or {line, cell.row} & set(spec.rows)]

    def verdicts(self) -> dict[str, str | None]:
        """Return line -> verdict of its comparison with the baseline."""
        frame = self.table.frame
        return {} if frame.is_empty() else dict(zip(frame["row"], frame[tables.VERDICT], strict=True))


def make_panels(study: Study, finished: Sequence[PlannedRun], comparisons: Sequence[ComparisonTable]) -> list[Panel]:
    """Return the panels of a study that have finished runs."""
    panels = []
    for table in comparisons:
        cells = [cell for cell in study.cells if cell.table == (table.split, table.model)]
        runs = {cell.line: [run.task for run in finished if run.cell is cell] for cell in cells}
        begun = {line: own for line, own in runs.items() if own}
        if begun:
            known = {cell.line: cell for cell in cells if cell.line in begun}
            panels.append(Panel(study, table.split, table.model, begun, known, table))
    return panels


def half_width(sd: float, n: int) -> float:
    """Return half the width of the 95 % interval of a mean by Student's t; sd: standard deviation of its n values, 2 or more."""
    return float(special.stdtrit(n - 1, 0.975) * sd / np.sqrt(n))


def value_of(by_seed: Floats) -> dict[str, float | None]:
    """Return value, low and high: the mean over seeds with its 95 % interval by Student's t, null for a single seed."""
    n, mean = len(by_seed), float(by_seed.mean())
    if n < 2:
        return {"value": mean, "low": None, "high": None}
    margin = half_width(by_seed.std(ddof=1), n)
    return {"value": mean, "low": mean - margin, "high": mean + margin}


def point(series: str, x_name: str | None, x: float | None, by_seed: Floats, verdict: str | None) -> dict[str, object]:
    """Return a row of `POINTS`."""
    return {"series": series, "x_name": x_name, "x": x, **value_of(by_seed), "verdict": verdict}


def points_frame(rows: Iterable[Mapping[str, object]]) -> pl.DataFrame:
    """Return the numbers of a figure."""
    return pl.DataFrame([dict.fromkeys(POINTS) | dict(row) for row in rows], schema=POINTS)


def compare_pairs(pairs: Sequence[tuple[MethodScores, MethodScores]], metric: str) -> list[str]:
    """Return the verdict of each pair; together they are Holm's family."""
    return tables.pairwise_table(pairs, (metric,))[tables.VERDICT].to_list() if pairs else []


def by_seed_alone(scores: MethodScores, values: Floats, metric: str) -> MethodScores:
    """Return scores of one value a seed (seeds,), such as a time, which a test compares by Welch's test over seeds."""
    return replace(scores, values={metric: values[:, None]})


def describe_places(series: str, against: str, verdicts: Mapping[str, str], words: Mapping[str, str] = WORDS) -> str:
    """Return a sentence on where a line differs from what it is compared with. verdicts: place -> verdict."""
    places = {verdict: [place for place, own in verdicts.items() if own == verdict] for verdict in words}
    everywhere = {verdict for verdict, own in places.items() if len(own) == len(verdicts) > 2}
    names = {verdict: "all places" if verdict in everywhere else ", ".join(own) for verdict, own in places.items()}
    parts = [text.format(places=names[verdict]) for verdict, text in words.items() if places[verdict]]
    return f"{series}, against {against}: {'; '.join(parts)}." if parts else ""


def join_conclusions(sentences: Iterable[str]) -> str:
    """Return the sentences that say something, or that nothing was tested."""
    return " ".join(filter(None, sentences)) or UNTESTED_REMARK
