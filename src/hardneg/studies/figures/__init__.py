"""Figures of a study in the form of the papers: numbers, charts, and captions that say what the tests allow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from hardneg.report.figure_data import FigureData
from hardneg.studies.comparisons import ComparisonTable
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.curves import draw_curves, draw_false_negatives
from hardneg.studies.figures.groups import draw_groups
from hardneg.studies.figures.judges import draw_identification
from hardneg.studies.figures.methods import draw_differences, draw_methods, draw_pair_differences, draw_seconds
from hardneg.studies.figures.panel import Panel, make_panels
from hardneg.studies.figures.settings import draw_llm, draw_map, draw_setting
from hardneg.studies.figures.splits import draw_by_noise
from hardneg.studies.recipes import slug

if TYPE_CHECKING:
    from hardneg.studies.study import PlannedRun, Study

OF_PANEL: dict[str, Callable[[Panel, FigureSpec, str], FigureData | None]] = {
    "difference": draw_differences,
    "pairs": draw_pair_differences,
    "llm": draw_llm,
    "epoch": draw_curves,
    "second": draw_curves,
    "item group": draw_groups,
    "user group": draw_groups,
    "seconds": draw_seconds,
    "false negatives": draw_false_negatives,
}
"""What is on x -> the chart of one split and model."""
OF_PANELS: dict[str, Callable[[Sequence[Panel], FigureSpec, str], Iterator[FigureData]]] = {
    "method": draw_methods,
    "train share": draw_by_noise,
    "noise": draw_by_noise,
    "judge": draw_identification,
}
"""What is on x -> charts of several splits or models."""


def draw_figures(
    study: Study, finished: Sequence[PlannedRun], comparisons: Sequence[ComparisonTable]
) -> Iterator[FigureData]:
    """Yield the figures that a study asks for, as far as its runs are finished. comparisons: its tables."""
    panels = make_panels(study, finished, comparisons)
    for number, spec in enumerate(study.spec.figures, start=1):
        key = f"figure-{number}-{'-'.join(map(slug, filter(None, (spec.x, spec.y))))}"
        if spec.x in OF_PANELS:
            yield from OF_PANELS[spec.x](panels, spec, key)
            continue
        draw = OF_PANEL.get(spec.x, draw_setting if spec.y is None else draw_map)
        for panel in panels:
            figure = draw(panel, spec, f"{key}-{slug(panel.split)}-{slug(panel.model)}")
            if figure is not None:
                yield figure
