"""Charts with a row for each name: names in a column on the left, marks with their intervals on the right of it."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

from hardneg.report.axis_range import CUT_NOTE, choose_range
from hardneg.report.svg import (
    RIGHT,
    TOP,
    WIDTH,
    ChartText,
    Scale,
    draw_arrow,
    frame_chart,
    number_text,
    style_class,
    tooltip,
)
from hardneg.report.value_charts import APART, Value, dot_class

NAMES = 190
"""Width of the column of names."""
CHARACTERS, MOST_LINES = 24, 3
"""Characters of a line of a name, and its lines; the whole name is its tooltip."""
LINE, GAP = 16, 8
"""Height of a line of text, and the space between two rows."""
TICKS = 3
"""Number of vertical lines, about; their numbers are wide."""
MARKED = {"better": "mark better", "worse": "mark worse"}
"""Verdict -> classes of the mark of an interval; others are hollow."""


@dataclass(frozen=True)
class Interval:
    """A difference with its interval, if it was tested, as shares."""

    name: str
    mean: float
    low: float | None
    high: float | None
    text: str
    verdict: str

    @property
    def span(self) -> tuple[float, float]:
        """The lowest and the highest of its finite values; zeros without one."""
        ends = [end for end in (self.mean, self.low, self.high) if end is not None and math.isfinite(end)]
        return min(ends, default=0.0), max(ends, default=0.0)


@dataclass(frozen=True)
class NamedValues:
    """A row of `dot_chart`: a name, and values each with its style; `x` of the values has no meaning."""

    name: str
    values: Sequence[tuple[int | None, Value]] = field(default_factory=tuple)


def interval_chart(rows: Sequence[Interval], text: ChartText) -> Markup:
    """Return a forest plot: one row for each difference, with its interval around a line at zero.

    The mark is filled where the verdict is "better" or "worse", else hollow. A few differences far from the others end
    in an arrow at the end of the axis, with their value.
    """
    spans = [row.span for row in rows]
    scale = Scale(*choose_range(spans, [0.0]), NAMES, WIDTH - RIGHT)
    middles, bottom, body = _draw_names([(row.name, row.text) for row in rows])
    is_cut = any(not (scale.holds(low) and scale.holds(high)) for low, high in spans)
    body += _draw_scale(scale, text.x_label, bottom, percent=True, sign=True, is_cut=is_cut)
    body.append(f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="{TOP}" y2="{bottom + 4}"/>')
    body += [_draw_interval(row, y, scale) for row, y in zip(rows, middles, strict=True)]
    return frame_chart(body, text, bottom + 46)


def dot_chart(rows: Sequence[NamedValues], text: ChartText, *, percent: bool = False) -> Markup:
    """Return a chart with a row for each name, and a mark with its interval for each value."""
    ends = [end for row in rows for _, value in row.values for end in value.ends]
    scale = Scale(min(ends), max(ends), NAMES, WIDTH - RIGHT)
    middles, bottom, body = _draw_names([(row.name, "") for row in rows])
    body += _draw_scale(scale, text.x_label, bottom, percent=percent)
    for row, middle in zip(rows, middles, strict=True):
        for place, (style, value) in enumerate(row.values):
            body.append(_draw_dot(scale, value, style, middle + APART * (place - (len(row.values) - 1) / 2)))
    return frame_chart(body, text, bottom + 46)


def _draw_names(rows: Sequence[tuple[str, str]]) -> tuple[list[float], float, list[str]]:
    """Return the middle of every row, the bottom of the last one, and the texts. rows: names, and texts below them."""
    top, middles, body = float(TOP), list[float](), list[str]()
    for name, value in rows:
        lines = textwrap.wrap(name, CHARACTERS, max_lines=MOST_LINES, placeholder="…") or [""]
        for number, line in enumerate(lines, 1):
            place = f'x="8" y="{top + LINE * number - 3:.0f}"'
            body.append(f'<text class="label" {place}>{escape(line)}{tooltip(name)}</text>')
        if value:
            lines.append(value)
            body.append(f'<text class="tick" x="8" y="{top + LINE * len(lines) - 3:.0f}">{escape(value)}</text>')
        middles.append(top + LINE * len(lines) / 2)
        top += LINE * len(lines) + GAP
    return middles, top - GAP + 4, body


def _draw_scale(
    scale: Scale, label: str, bottom: float, *, percent: bool = False, sign: bool = False, is_cut: bool = False
) -> list[str]:
    """Return the vertical lines with their numbers, and the name of the axis."""
    body = []
    for tick in scale.ticks(TICKS):
        x, number = scale(tick), number_text(tick, percent=percent, sign=sign)
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        body.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 18}">{number}</text>')
    label = f"{label} ({CUT_NOTE})" if is_cut else label
    place = f'x="{WIDTH - RIGHT}" y="{bottom + 38}"'
    return [*body, f'<text class="axis" text-anchor="end" {place}>{escape(label)}</text>']


def _draw_interval(row: Interval, y: float, scale: Scale) -> str:
    classes, (low, high) = MARKED.get(row.verdict, "mark"), row.span
    left, right = scale.clamp(low), scale.clamp(high)
    side = (low > scale.high) - (high < scale.low)  # of the axis on which the whole row lies; 0 for within
    parts = []
    if side:
        end, anchor = scale(scale.clamp(row.mean)), "end" if side > 0 else "start"
        value = number_text(round(row.mean, 3), percent=True, sign=True)
        parts.append(f'<line class="{classes}" x1="{end:.1f}" x2="{end - 24 * side:.1f}" y1="{y}" y2="{y}"/>')
        place = f'text-anchor="{anchor}" x="{end - 30 * side:.1f}" y="{y + 4}"'
        parts.append(f'<text class="value" {place}>{value}</text>')
    elif low < high:
        parts.append(f'<line class="{classes}" x1="{scale(left):.1f}" x2="{scale(right):.1f}" y1="{y}" y2="{y}"/>')
    parts += [draw_arrow(classes, scale(left), y, "left")] if left > low else []
    parts += [draw_arrow(classes, scale(right), y, "right")] if right < high else []
    if math.isfinite(row.mean) and scale.holds(row.mean):
        parts.append(f'<circle class="{classes}" cx="{scale(row.mean):.1f}" cy="{y}" r="4.5"/>')
    return "".join(parts)


def _draw_dot(scale: Scale, value: Value, style: int | None, y: float) -> str:
    name, whisker = style_class(style), ""
    if value.low is not None and value.high is not None:
        ends = f'x1="{scale(value.low):.1f}" x2="{scale(value.high):.1f}"'
        whisker = f'<line class="whisker {name}" {ends} y1="{y:.1f}" y2="{y:.1f}"/>'
    return f'{whisker}<circle class="{dot_class(value.filled)} {name}" cx="{scale(value.y):.1f}" cy="{y:.1f}" r="4"/>'
