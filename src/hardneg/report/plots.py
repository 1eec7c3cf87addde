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
