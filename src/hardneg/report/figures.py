"""Figures of a page: differences with intervals, learning curves by epoch and by second, quality against time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from hardneg.report.page import PageFigure
from hardneg.report.point_chart import scatter_chart
from hardneg.report.printers import metric_label
from hardneg.report.row_charts import Interval, interval_chart
from hardneg.report.svg import STYLES, ChartText, Series, line_chart, style_of
from hardneg.report.verdicts import describe_interval, verdict_words

MOST_POINTS = 60
"""Largest number of points of a line; of longer ones, every second, third, ... point is drawn, and the last."""
MEASURED_BY = {
    True: "Held-out pairs among the sampled negatives: fewer than all items that users would like.",
    False: "Mean probability that the user likes a sampled negative, which is known for simulated data.",
}
"""Measured against held-out pairs -> what was measured."""
Styles = Mapping[str, int | None]
"""Line of a table -> its style in all charts, None for a thin line."""


def line_styles(frame: pl.DataFrame, metric: str) -> Styles:
    """Return the styles of the lines of a `tables.comparison_table`: the baseline and the best ones have their own."""
    best = frame.filter(pl.col("verdict").is_not_null()).sort(metric, descending=True)["row"].to_list()
    base = frame.filter(pl.col("verdict").is_null())["row"].to_list()
    highlighted = {name: number for number, name in enumerate([*base, *best][:STYLES])}
    return {name: highlighted.get(name) for name in frame["row"]}


def effects_figure(frame: pl.DataFrame, metric: str, key: str, *, baseline: str = "") -> PageFigure | None:
    """Return the forest plot of a comparison, or of pairs with a column "against"; None where there is no difference.

    baseline: the line that the others are compared with; empty for pairs.
    """
    rows = [row for row in frame.sort("relative", descending=True).rows(named=True) if row["relative"] is not None]
    if not rows:
        return None
    names = [row["row"] if baseline else f"{row['row']} against {row['against']}" for row in rows]
    intervals = [
        Interval(
            name,
            row["relative"],
            row["relative_low"],
            row["relative_high"],
            describe_interval(row),
            row["verdict"],
        )
        for name, row in zip(names, rows, strict=True)
    ]
    description = "; ".join(f"{one.name}: {one.text}, {verdict_words(one.verdict)}" for one in intervals)
    label = metric_label(metric)
    title = f"Difference in {label} from {baseline}" if baseline else f"Difference in {label}"
    text = ChartText(f"{key}-effects", title, description, x_label=f"relative difference in {label}")
    caption = (
        "Relative difference with its 95 % interval; users and seeds are resampled. Filled marks are significant after "
        "Holm, hollow ones are not, or are outside the test (controls, fewer than three seeds)."
    )
    return PageFigure(title, interval_chart(intervals, text), caption)


def curve_figures(curves: pl.DataFrame, metric: str, styles: Styles, key: str) -> list[PageFigure]:
    """Return the learning curves by epoch and by second.

    curves: row, seed, epoch, value on validation pairs, seconds (training time up to the epoch, null if unknown).
    """
    if curves.is_empty():
        return []
    mean = curves.group_by("row", "epoch", maintain_order=True).agg(pl.col("value", "seconds").mean()).sort("epoch")
    figures = [_curve_figure(mean, "epoch", metric, styles, key)]
    timed = mean.filter(pl.col("seconds").is_not_null())
    return figures if timed.is_empty() else [*figures, _curve_figure(timed, "seconds", metric, styles, key)]


def _curve_figure(mean: pl.DataFrame, x: str, metric: str, styles: Styles, key: str) -> PageFigure:
    lines = {name: mean.filter(pl.col("row") == name) for name in mean["row"].unique(maintain_order=True)}
    kept = {name: thin_frame(frame) for name, frame in lines.items()}
    series = [
        Series(name, frame[x].to_list(), frame["value"].to_list(), styles.get(name)) for name, frame in kept.items()
    ]
    label, unit = metric_label(metric), "epoch" if x == "epoch" else "second"
    last = "; ".join(f"{line.name}: {line.y[-1]:.4f} at {unit} {line.x[-1]:,.6g}" for line in series)
    title = f"Learning curves by {unit}"
    axis = "epoch" if x == "epoch" else "training time (s)"
    chart = line_chart(series, ChartText(f"{key}-by-{unit}", title, last, axis, f"validation {label}"))
    caption = "On validation pairs; a line is the mean over its seeds that are still training."
    caption += " The time of an epoch is the mean over the runs of a line." if x == "seconds" else ""
    if any(len(lines[name]) > len(kept[name]) for name in lines):
        caption += f" Of lines with more than {MOST_POINTS} checks, about {MOST_POINTS} are drawn."
    return PageFigure(title, chart, caption + _describethin_frame(series), _legend(series))


@dataclass(frozen=True)
class CostAxis:
    """A cost of the lines of a table. amounts: line -> cost in `unit`. note: what the amounts count, for the caption."""

    name: str
    unit: str
    amounts: Mapping[str, float]
    note: str


def cost_figure(frame: pl.DataFrame, metric: str, styles: Styles, key: str, cost: CostAxis) -> PageFigure | None:
    """Return quality on test pairs against a cost, of the lines with a style; None without two of them."""
    rows = [row for row in frame.rows(named=True) if styles.get(row["row"]) is not None and row["row"] in cost.amounts]
    if len(rows) < 2:
        return None
    points = [
        Series(name, [cost.amounts[name]], [row[metric]], styles[name], row[f"{metric} sd"] or 0.0)
        for row in rows
        for name in (row["row"],)
    ]
    label, title = metric_label(metric), f"Quality against {cost.name}"
    description = "; ".join(f"{point.name}: {point.y[0]:.4f} for {point.x[0]:,.6g} {cost.unit}" for point in points)
    axis = f"{cost.name} ({cost.unit})"
    text = ChartText(f"{key}-{cost.name.replace(' ', '-')}", title, description, axis, f"test {label}")
    caption = f"Mean over seeds; the whisker is one standard deviation of the seeds. {cost.note}"
    omitted = len(frame) - len(rows)
    caption += (
        f" {omitted} lines are left out: those with the lowest means, and those whose cost is unknown."
        if omitted
        else ""
    )
    return PageFigure(title, scatter_chart(points, text), caption)


def calibration_figure(curves: Sequence[tuple[str, Sequence[tuple[float, float]]]], key: str) -> PageFigure:
    """Return the probability of each score of some judges. curves: name of a judge, corners (score, probability)."""
    series = [
        Series(name, [x for x, _ in corners], [y for _, y in corners], style_of(number))
        for number, (name, corners) in enumerate(curves)
    ]
    description = "; ".join(f"{line.name}: from {min(line.y):.2f} to {max(line.y):.2f}" for line in series)
    text = ChartText(f"{key}-curve", "Calibration of judges", description, "score", "probability of being liked")
    caption = "Isotonic map from the judge's score to a probability, from hidden and random items; a flat line separates nothing."
    return PageFigure(text.title, line_chart(series, text), caption, _legend(series))


def rates_figure(rates: pl.DataFrame, key: str, *, held_out: bool = False) -> PageFigure:
    """Return the share of sampled negatives that the user would like, by epoch. rates: row, epoch, like_probability.

    held_out: they are the share of held-out pairs.
    """
    mean = rates.group_by("row", "epoch", maintain_order=True).agg(pl.col("like_probability").mean()).sort("epoch")
    names = mean["row"].unique(maintain_order=True).to_list()
    frames = [thin_frame(mean.filter(pl.col("row") == name)) for name in names]
    series = [
        Series(name, frame["epoch"].to_list(), frame["like_probability"].to_list(), style_of(number))
        for number, (name, frame) in enumerate(zip(names, frames, strict=True))
    ]
    description = "; ".join(f"{line.name}: {line.y[-1]:.1%} at epoch {line.x[-1]}" for line in series)
    text = ChartText(f"{key}-rates", "False negatives", description, "epoch", "false negatives among sampled")
    caption = MEASURED_BY[held_out]
    return PageFigure("False negatives", line_chart(series, text, percent=True), caption, _legend(series))


def thin_frame(frame: pl.DataFrame) -> pl.DataFrame:
    """Return all rows of a short frame, about MOST_POINTS rows of a longer one, the last one included."""
    step = -(-len(frame) // MOST_POINTS)
    return frame.filter((pl.int_range(pl.len()) % step == 0) | (pl.int_range(pl.len()) == pl.len() - 1))


def _legend(series: Sequence[Series]) -> list[tuple[int | None, str]]:
    styled = sorted((line.style, line.name) for line in series if line.style is not None)
    thin = len(series) - len(styled)
    return [*styled, *([(None, f"{thin} more")] if thin else [])]


def _describethin_frame(series: Sequence[Series]) -> str:
    thin = sum(line.style is None for line in series)
    return (
        f" {len(series) - thin} lines have colours, the other {thin} are thin with their name as a tooltip."
        if thin
        else ""
    )
