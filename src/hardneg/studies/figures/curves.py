"""Learning curves by epoch and by second, and the false negatives among the sampled negatives by epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from hardneg.data.dataset import read_parquet
from hardneg.diagnostics.sampled_negatives import NEAREST_ITEM
from hardneg.pipeline import HELD_OUT
from hardneg.report.figure_data import FigureData
from hardneg.report.figures import MEASURED_BY, thin_frame
from hardneg.report.printers import metric_label
from hardneg.report.tables import BETTER, UNDECIDED, WORSE
from hardneg.report.verdicts import describe_verdict
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.methods import epoch_seconds
from hardneg.studies.figures.panel import (
    INTERVALS,
    Panel,
    by_seed_alone,
    compare_pairs,
    describe_places,
    join_conclusions,
    point,
    points_frame,
)
from hardneg.studies.runs import SAMPLED, RunTask

NEARLY = 0.95
"""Share of the baseline's best value, for the epoch at which a curve reaches it."""


def draw_curves(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the learning curves of the trained lines, and the epoch or second at which each nears the baseline's best."""
    lines = [line for line in panel.shown(spec) if panel.cells[line].trains]
    curves = {line: _read_curve(panel.runs[line], spec.x) for line in lines}
    base = panel.baseline
    if base is None or base not in curves:
        return None
    best = max(values.mean() for _, values in curves[base])
    reached = {
        line: next((f"{x:.3g}" for x, values in curve if values.mean() >= NEARLY * best), "never")
        for line, curve in curves.items()
    }
    rows = [point(line, f"{x:.6g}", x, values, None) for line, curve in curves.items() for x, values in _thin(curve)]
    select = metric_label(panel.runs[base][0].select)
    unit = "Epoch" if spec.x == "epoch" else "Second of training"
    listed = ", ".join(f"{line} {place}" for line, place in reached.items())
    on_test = (
        "" if panel.table.frame.is_empty() else f" On test pairs: {describe_verdict(panel.table.frame, panel.metric)}"
    )
    conclusion = (
        f"{unit} at which the mean first reaches {NEARLY:.0%} of the best of {base} ({best:.4f}): {listed}. That is a "
        f"description without a test.{on_test}"
    )
    note = f"Mean over the seeds that are still training. {INTERVALS}"
    axis = "epoch" if spec.x == "epoch" else "training time (s)"
    title = f"Validation {select} by {spec.x}: {panel.title}"
    return FigureData(key, title, "lines", axis, f"validation {select}", conclusion, note, points_frame(rows))


Curve = list[tuple[float, np.ndarray]]
"""Place, and the values of the seeds there."""


def _thin(curve: Curve) -> Curve:
    kept = thin_frame(pl.DataFrame({"place": range(len(curve))}))["place"].to_list()
    return [curve[place] for place in kept]


def _read_curve(tasks: Sequence[RunTask], x: str) -> Curve:
    """Return the values of the metric that chose the epoch, at each validated epoch or its mean second."""
    frames = [read_parquet(task.folder / "metrics.parquet") for task in tasks]
    is_chosen = (pl.col("split") == "valid") & (pl.col("metric") == tasks[0].select)
    values = pl.concat([frame.filter(is_chosen).select("epoch", "value") for frame in frames])
    rate = 1.0 if x == "epoch" else float(epoch_seconds(tasks).mean())
    groups = values.group_by("epoch").agg(pl.col("value")).sort("epoch").iter_rows()
    return [(epoch * rate, np.array(own)) for epoch, own in groups]


def draw_false_negatives(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the share of false negatives among the sampled negatives of each line by epoch, where it was measured."""
    rates = {line: frame for line in panel.shown(spec) if (frame := _read_rates(panel.runs[line])) is not None}
    base = panel.baseline
    if base is None or base not in rates:
        return None
    rows: list[dict[str, object]] = []
    for line, frame in rates.items():
        by_epoch = frame.group_by("epoch").agg(pl.col("rate")).sort("epoch").iter_rows()
        curve: Curve = [(float(epoch), np.array(own)) for epoch, own in by_epoch]
        rows += [point(line, f"{x:.6g}", x, values, None) for x, values in _thin(curve)]
    of_runs = {
        line: frame.group_by("seed").agg(pl.col("rate").mean()).sort("seed")["rate"] for line, frame in rates.items()
    }
    means = {line: by_seed_alone(panel.scores[line], own.to_numpy(), panel.metric) for line, own in of_runs.items()}
    others = [line for line in rates if line != base]
    verdicts = compare_pairs([(means[line], means[base]) for line in others], panel.metric)
    words = {BETTER: "more, {places}", WORSE: "fewer, {places}", UNDECIDED: "not significant, {places}"}
    shares = {line: f"{own.to_numpy().mean():.2%}" for line, own in of_runs.items()}
    sentences = [
        describe_places(line, f"{base} ({shares[base]})", {f"{shares[line]}": verdict}, words)
        for line, verdict in zip(others, verdicts, strict=True)
    ]
    measured = MEASURED_BY[panel.study.spec.splits[panel.split].truth == HELD_OUT]
    conclusion = f"False negatives, mean of all epochs: {join_conclusions(sentences)}"
    note = (
        f"{measured} For vectors it is that of the unobserved item nearest to the vector. {INTERVALS} Welch's test over "
        "seeds, Holm over the lines of this chart."
    )
    title = f"False negatives among sampled negatives: {panel.title}"
    return FigureData(
        key,
        title,
        "lines",
        "epoch",
        "false negatives among sampled",
        conclusion,
        note,
        points_frame(rows),
        percent=True,
    )


def _read_rates(tasks: Sequence[RunTask]) -> pl.DataFrame | None:
    """Return seed, epoch and rate; None where nothing was measured.

    The rate of vectors is that of the unobserved item nearest to them.
    """
    frames = [
        read_parquet(path).with_columns(seed=pl.lit(task.seed))
        for task in tasks
        if (path := task.folder / SAMPLED).is_file()
    ]
    if not frames:
        return None
    parts = pl.concat(frames)
    nearest = parts.filter(pl.col("part") == NEAREST_ITEM)
    parts = parts if nearest.is_empty() else nearest
    return parts.group_by("seed", "epoch").agg(pl.col("like_probability").mean().alias("rate")).sort("seed", "epoch")
