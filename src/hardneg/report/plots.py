"""Plots. Each function draws on the given axes and neither saves nor shows them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import polars as pl

from hardneg.report.printers import metric_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#5b6770", "#0b6e99", "#d9730d", "#0f7b6c", "#ad1a72", "#9b9a97", "#6940a5", "#a67c00", "#7a2e2e")


def plot_learning_curves(curves: pl.DataFrame, metric: str, *, ax: Axes) -> Axes:
    """Plot a validation metric by epoch, averaged over seeds.

    curves: row, seed, epoch, split, metric, value.
    """
    chosen = curves.filter((pl.col("split") == "valid") & (pl.col("metric") == metric))
    _draw_lines(chosen, "value", ax)
    title = "Learning curves (mean over the seeds still training)"
    ax.set(xlabel="epoch", ylabel=f"validation {metric_label(metric)}", title=title)
    return ax


def plot_false_negatives(rates: pl.DataFrame, *, ax: Axes) -> Axes:
    """Plot the share of sampled negatives that the user would like, by epoch.

    rates: row, seed, epoch, like_probability (mean over parts).
    """
    _draw_lines(rates, "like_probability", ax)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set(xlabel="epoch", ylabel="false negatives among sampled", title="False negatives")
    return ax


def plot_two_masks(released: pl.DataFrame, metric: str, *, ax: Axes) -> Axes:
    """Plot every row's value under the train mask and under the released mask, ordered by the former.

    released: row, metric, honest (train mask), released_mask.
    """
    frame = released.filter(pl.col("metric") == metric).sort("honest", maintain_order=True)
    by_train_mask, by_released_mask = frame["honest"].to_list(), frame["released_mask"].to_list()
    places = range(len(frame))
    ax.hlines(places, by_train_mask, by_released_mask, color=COLOURS[5], linewidth=1.2, zorder=1)
    ax.scatter(by_train_mask, places, color=COLOURS[1], label="train mask", zorder=2)
    label = "released mask (not valid)"
    ax.scatter(by_released_mask, places, facecolors="white", edgecolors=COLOURS[2], label=label, zorder=2)
    ax.set_yticks(places, frame["row"].to_list())
    ax.set_xlabel(metric_label(metric))
    ax.set_title("The same runs under two masks", loc="left", pad=24)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, frameon=False, borderaxespad=0)
    ax.grid(axis="x", alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    return ax


def _draw_lines(frame: pl.DataFrame, value: str, ax: Axes) -> None:
    for number, name in enumerate(frame["row"].unique(maintain_order=True)):
        line = frame.filter(pl.col("row") == name).group_by("epoch").agg(pl.col(value).mean()).sort("epoch")
        style = "--" if "control" in name else "-"
        colour = COLOURS[number % len(COLOURS)]
        ax.plot(line["epoch"], line[value], style, label=name, color=colour, linewidth=1.6)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def new_figure(n: int = 1, *, size: tuple[float, float] = (6.2, 4.2)) -> tuple[Figure, list[Axes]]:
    """Create a figure with n axes side by side. size: width and height of each in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size[0] * n, size[1]), layout="constrained")
    return figure, [figure.add_subplot(1, n, number + 1) for number in range(n)]


def as_svg(figure: Figure) -> str:
    """Return the figure as an SVG element whose text remains text."""
    import matplotlib as mpl

    buffer = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "hardneg", "font.family": "sans-serif"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
