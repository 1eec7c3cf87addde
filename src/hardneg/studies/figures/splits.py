"""The metric by the share of train pairs left, or by the share of false positives added: splits with and without noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hardneg.report.figure_data import MARKS, FigureData
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import INTERVALS, Panel, describe_places, join_conclusions, point, points_frame
from hardneg.studies.recipes import slug

AXES = {"train share": "share of train pairs left", "noise": "false positives added, as a share of train pairs"}


def draw_by_noise(panels: Sequence[Panel], spec: FigureSpec, key: str) -> Iterator[FigureData]:
    """Yield a chart of every model on the splits made from one folder, with a curve for each line."""
    groups = dict.fromkeys((panel.study.spec.splits[panel.split].folder, panel.model) for panel in panels)
    for folder, model in groups:
        own = [
            panel for panel in panels if (panel.study.spec.splits[panel.split].folder, panel.model) == (folder, model)
        ]
        if len(own) > 1 and (base := own[0].baseline) is not None:
            yield _draw_group(sorted(own, key=lambda panel: _place(panel, spec)), spec, key, base)


def _place(panel: Panel, spec: FigureSpec) -> float:
    noise = panel.study.spec.splits[panel.split].noise
    if spec.x == "noise":
        return 0.0 if noise is None else noise.false_positives
    return 1.0 if noise is None else 1.0 - noise.hidden


def _draw_group(panels: Sequence[Panel], spec: FigureSpec, key: str, base: str) -> FigureData:
    """Draw the curves of the lines over the panels, which are in the order of their places."""
    name = min((panel.split for panel in panels), key=len)
    rows, sentences = list[dict[str, object]](), list[str]()
    for line in dict.fromkeys(line for panel in panels for line in panel.shown(spec)):
        verdicts: dict[str, str] = {}
        for panel in (panel for panel in panels if line in panel.scores):
            place, values = _place(panel, spec), panel.scores[line].values[panel.metric].mean(axis=1)
            verdict = panel.verdicts().get(line)
            verdicts |= {} if verdict is None else {f"{place:.0%}": verdict}
            rows.append(point(line, f"{place:.0%}", place, values, verdict))
        sentences.append(describe_places(line, base, verdicts))
    label = panels[0].label
    hidden = " Hidden pairs are ranked like any unobserved item." if spec.x == "train share" else ""
    conclusion = join_conclusions(sentences)
    note = (
        f"Test {label}; the test pairs are the same at all places.{hidden} {INTERVALS} "
        f"{MARKS.format(against=base)} Tests resample users and seeds; p < .05 after Holm within one place."
    )
    title, folder_key = f"{label} by {spec.x}: {name}, {panels[0].model}", f"{key}-{slug(name)}-{slug(panels[0].model)}"
    return FigureData(folder_key, title, "lines", AXES[spec.x], f"test {label}", conclusion, note, points_frame(rows))
