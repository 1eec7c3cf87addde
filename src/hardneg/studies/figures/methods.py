"""Methods side by side: their metric with every model, their differences from the baseline, and the time of an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hardneg import artifacts, storage
from hardneg.pipeline import RUN
from hardneg.report import tables
from hardneg.report.figure_data import MARKS, FigureData
from hardneg.report.printers import UNTESTED
from hardneg.report.tables import BETTER, UNDECIDED, WORSE
from hardneg.report.verdicts import describe_verdict
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import (
    INTERVALS,
    Panel,
    by_seed_alone,
    compare_pairs,
    join_conclusions,
    point,
    points_frame,
)
from hardneg.studies.recipes import slug
from hardneg.studies.runs import RunTask
from hardneg.types import Floats

RESAMPLED = "Bars are 95 % intervals; users and seeds are resampled."
TABLE_TESTS = "Tests resample users and seeds; p < .05 after Holm within the table of the model."
GROUPS = {BETTER: "better: {names}", WORSE: "worse: {names}", UNDECIDED: "no significant difference: {names}"}


def draw_methods(panels: Sequence[Panel], spec: FigureSpec, key: str) -> Iterator[FigureData]:
    """Yield a chart of every split, with a row for each line and a mark for each model."""
    for split in dict.fromkeys(panel.split for panel in panels):
        own = [panel for panel in panels if panel.split == split]
        lines = dict.fromkeys(line for panel in own for line in panel.shown(spec))
        rows, sentences = list[dict[str, object]](), list[str]()
        for line in lines:
            for panel in (panel for panel in own if line in panel.scores):
                values = panel.scores[line].values[panel.metric].mean(axis=1)
                rows.append(point(panel.model, line, None, values, panel.verdicts().get(line)))
        for panel in own:
            verdicts = {line: verdict for line, verdict in panel.verdicts().items() if line in lines}
            sentences.append(describe_lines(panel, verdicts))
        base, label = own[0].baseline or "the baseline", own[0].label
        conclusion = join_conclusions(sentences)
        note = f"Test {label}. {INTERVALS} {MARKS.format(against=base)} {TABLE_TESTS}"
        title = f"{label} by method: {split}"
        yield FigureData(
            f"{key}-{slug(split)}", title, "dots", f"test {label}", "", conclusion, note, points_frame(rows)
        )


def describe_lines(panel: Panel, verdicts: Mapping[str, str | None]) -> str:
    """Return a sentence on which lines differ from the baseline with one model."""
    parts = []
    for verdict, text in GROUPS.items():
        names = [line for line, own in verdicts.items() if own == verdict]
        if names:
            parts.append(text.format(names=", ".join(names)))
    return f"{panel.model}, against {panel.baseline}: {'; '.join(parts)}." if parts else ""


def draw_differences(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the relative differences of the lines from the baseline, with their intervals."""
    frame, shown = panel.table.frame, set(panel.shown(spec))
    if frame.is_empty():
        return None
    frame = frame.filter(frame["row"].is_in(shown) | frame[tables.VERDICT].is_null())
    rows = _difference_rows(frame.iter_rows(named=True))
    if not rows:
        return None
    title, label = f"Difference from {panel.baseline}: {panel.title}", f"relative difference in test {panel.label}"
    conclusion = describe_verdict(frame, panel.metric)
    note = f"{RESAMPLED} {MARKS.format(against=panel.baseline)}"
    return FigureData(key, title, "differences", label, "", conclusion, note, points_frame(rows))


def draw_pair_differences(panel: Panel, _: FigureSpec, key: str) -> FigureData | None:
    """Return the relative differences of the pairs that the study compares."""
    frame = next((table.frame for table in panel.table.pairs if table.file == "comparisons"), None)
    if frame is None:
        return None
    lines = [{**row, "row": f"{row['row']} against {row['against']}"} for row in frame.iter_rows(named=True)]
    rows = _difference_rows(iter(lines))
    groups = {verdict: [line["row"] for line in lines if line[tables.VERDICT] == verdict] for verdict in GROUPS}
    parts = [text.format(names=", ".join(groups[verdict])) for verdict, text in GROUPS.items() if groups[verdict]]
    conclusion = join_conclusions(f"{part[0].upper()}{part[1:]}." for part in parts)
    title, label = f"Pairs: {panel.title}", f"relative difference in test {panel.label}"
    note = f"{RESAMPLED} p < .05 after Holm over these pairs."
    return FigureData(key, title, "differences", label, "", conclusion, note, points_frame(rows)) if rows else None


def _difference_rows(lines: Iterator[dict[str, object]]) -> list[dict[str, object]]:
    return [
        {
            "series": line["row"],
            "x_name": line["row"],
            "value": line["relative"],
            "low": line["relative_low"],
            "high": line["relative_high"],
            "verdict": line[tables.VERDICT],
        }
        for line in lines
        if line["relative"] is not None and np.isfinite(float(str(line["relative"])))
    ]


def draw_seconds(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the seconds of an epoch of every trained line."""
    lines = [line for line in panel.shown(spec) if panel.cells[line].trains]
    times = {line: epoch_seconds(panel.runs[line]) for line in lines}
    base = panel.baseline
    if base is None or base not in times:
        return None
    others = [line for line in lines if line != base]
    scores = {line: by_seed_alone(panel.scores[line], times[line], panel.metric) for line in lines}
    verdicts = dict(
        zip(others, compare_pairs([(scores[line], scores[base]) for line in others], panel.metric), strict=True)
    )
    words = {BETTER: "longer", WORSE: "shorter", UNDECIDED: "not significant", UNTESTED: UNTESTED}
    ratios = [
        f"{line} {times[line].mean() / times[base].mean():.2f} times ({words.get(verdicts[line], verdicts[line])})"
        for line in others
    ]
    rows = [point("an epoch", line, None, times[line], verdicts.get(line)) for line in lines]
    conclusion = f"An epoch takes, as a multiple of that of {base}: {', '.join(ratios)}."
    note = (
        f"{INTERVALS} Seconds of a run over its epochs, validation included, on this machine; what was made before the "
        "runs is not included. Welch's test over seeds, Holm over the lines of this chart."
    )
    return FigureData(
        key, f"Time of an epoch: {panel.title}", "dots", "seconds of an epoch", "", conclusion, note, points_frame(rows)
    )


def epoch_seconds(tasks: Sequence[RunTask]) -> Floats:
    """Return the seconds of an epoch of each run."""
    seconds = [storage.read_json(task.folder / "costs.json")["seconds"] for task in tasks]
    epochs = [artifacts.read_manifest(task.folder, RUN)["notes"]["epochs"] for task in tasks]
    rates: Floats = np.array(seconds, float) / np.array(epochs, float)
    return rates
