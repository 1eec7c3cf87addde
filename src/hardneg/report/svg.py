"""Charts as SVG: text remains text, colours come from the style sheet of the page, and every chart has a description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 46
"""Margins around the plotted area."""
STYLES = 9
"""Number of line styles in the style sheet (classes s0 to s8); other lines are thin."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")
LABEL = 44
"""Characters of a name that fit into a chart; the whole name is its tooltip."""
ROW = 34
"""Height of a row of `interval_chart`."""
MARKED = {"better": "mark better", "worse": "mark worse"}
"""Verdict -> classes of the mark of an interval; others are hollow."""


@dataclass(frozen=True)
class Series:
    """A named line or point. style: number of its line style, None for a thin line without a label."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: int | None = None
    spread: float = 0.0
    """Half the length of the whisker of a point, in units of y."""


@dataclass(frozen=True)
class Interval:
    """A difference with its interval, if it was tested, as shares."""

    name: str
    mean: float
    low: float | None
    high: float | None
    text: str
    verdict: str


@dataclass(frozen=True)
class ChartText:
    """Texts of a chart. key: identifier within the page. description: what a screen reader says."""

    key: str
    title: str
    description: str
    x_label: str = ""
    y_label: str = ""


def style_of(number: int) -> int | None:
    """Return the style of the line with a number, None for the lines after those with a style of their own."""
    return number if number < STYLES else None


def line_chart(series: Sequence[Series], text: ChartText, *, percent: bool = False) -> Markup:
    """Return a chart of lines. percent: write y as percentages."""
    axes = Axes([x for line in series for x in line.x], [y for line in series for y in line.y])
    body = [axes.draw(text, percent=percent)]
    for line in sorted(series, key=lambda line: line.style is not None):  # thin lines lie below
        points = " ".join(f"{axes.x(x):.1f},{axes.y(y):.1f}" for x, y in zip(line.x, line.y, strict=True))
        body.append(
            f'<polyline class="{style_class(line.style)}"{dash_attribute(line.style)} points="{points}">{tooltip(line.name)}</polyline>'
        )
        if len(line.x) == 1:
            body.append(
                f'<circle class="{style_class(line.style)}" cx="{axes.x(line.x[0]):.1f}" cy="{axes.y(line.y[0]):.1f}" r="3"/>'
            )
    return frame_chart(body, text, HEIGHT)


def scatter_chart(points: Sequence[Series], text: ChartText) -> Markup:
    """Return a chart of points with whiskers and names. x is logarithmic where it covers a factor of five or more."""
    xs = [point.x[0] for point in points]
    ys = [point.y[0] + side * point.spread for point in points for side in (-1, 1)]
    axes = Axes(xs, ys, log=min(xs) > 0 and max(xs) >= 5 * min(xs))
    body, places = [axes.draw(text)], _spread_labels([axes.y(point.y[0]) for point in points])
    for point, label_y in zip(points, places, strict=True):
        x, y = axes.x(point.x[0]), axes.y(point.y[0])
        low, high = axes.y(point.y[0] - point.spread), axes.y(point.y[0] + point.spread)
        body.append(
            f'<line class="{style_class(point.style)}" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        )
        body.append(
            f'<circle class="dot {style_class(point.style)}" cx="{x:.1f}" cy="{y:.1f}" r="5">{tooltip(point.name)}</circle>'
        )
        left = x > LEFT + 0.6 * (WIDTH - LEFT - RIGHT)
        anchor, shift = ("end", -9) if left else ("start", 9)
        name = shorten(point.name, 24)
        body.append(
            f'<text class="label" text-anchor="{anchor}" x="{x + shift:.1f}" y="{label_y + 4:.1f}">{name}</text>'
        )
    return frame_chart(body, text, HEIGHT)


def interval_chart(rows: Sequence[Interval], text: ChartText) -> Markup:
    """Return a forest plot: one row for each difference, with its interval around a line at zero.

    The mark is filled where the verdict is "better" or "worse", else hollow.
    """
    ends = [end for row in rows for end in (row.mean, row.low, row.high) if end is not None and math.isfinite(end)]
    scale = Scale(min([0.0, *ends]), max([0.0, *ends]), LEFT - 46, WIDTH - RIGHT)
    bottom = TOP + ROW * len(rows)
    body = [f'<line class="zero" x1="{scale(0):.1f}" x2="{scale(0):.1f}" y1="{TOP}" y2="{bottom + 4}"/>']
    for tick in scale.ticks():
        x = scale(tick)
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}"/>')
        body.append(
            f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 18}">{number_text(tick, percent=True, sign=True)}</text>'
        )
    body.append(
        f'<text class="axis" text-anchor="middle" x="{WIDTH / 2:.0f}" y="{bottom + 38}">{escape(text.x_label)}</text>'
    )
    for number, row in enumerate(rows):
        body.append(_interval_row(row, TOP + ROW * number, scale))
    return frame_chart(body, text, bottom + 46)


def _interval_row(row: Interval, top: float, scale: Scale) -> str:
    y, classes = top + 24, MARKED.get(row.verdict, "mark")
    parts = [
        f'<text class="label" x="16" y="{top + 13:.0f}">{shorten(row.name)}{tooltip(row.name)}</text>',
        f'<text class="value" text-anchor="end" x="{WIDTH - RIGHT}" y="{top + 13:.0f}">{escape(row.text)}</text>',
    ]
    if row.low is not None and row.high is not None and math.isfinite(row.low + row.high):
        parts.append(
            f'<line class="{classes}" x1="{scale(row.low):.1f}" x2="{scale(row.high):.1f}" y1="{y}" y2="{y}"/>'
        )
    if math.isfinite(row.mean):
        parts.append(f'<circle class="{classes}" cx="{scale(row.mean):.1f}" cy="{y}" r="4.5"/>')
    return "".join(parts)


class Scale:
    """Maps values to pixels from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        self.log, self._start, self._end = log, start, end
        if not log:
            margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
            low, high = low - margin, high + margin
        else:
            low, high = low / 1.25, high * 1.25
        self.low, self.high = low, high

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, value = map(math.log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        return self._start + (value - low) / (high - low) * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Return about five round values."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        else:
            rough = (self.high - self.low) / 5
            unit = 10.0 ** math.floor(math.log10(rough))
            step = unit * min((1, 2, 5, 10), key=lambda digit: abs(digit * unit - rough))
            values = [step * number for number in range(math.ceil(self.low / step), math.floor(self.high / step) + 1)]
        return [value for value in values if self.low <= value <= self.high]


class Axes:
    """Scales of a chart, and its grid with labels. x_names: texts of the places 0, 1, ... in place of numbers."""

    def __init__(
        self, xs: Sequence[float], ys: Sequence[float], *, log: bool = False, x_names: Sequence[str] = ()
    ) -> None:
        self.x_names = x_names
        self.x = Scale(min(xs), max(xs), LEFT, WIDTH - RIGHT, log=log)
        self.y = Scale(min(ys), max(ys), HEIGHT - BOTTOM, TOP)

    def draw(self, text: ChartText, *, percent: bool = False) -> str:
        """Return the grid, its numbers and the names of the axes."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        parts = []
        for tick in self.y.ticks():
            y = self.y(tick)
            parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
            parts.append(
                f'<text class="tick" text-anchor="end" x="{LEFT - 6}" y="{y + 4:.1f}">{number_text(tick, percent=percent)}</text>'
            )
        length = max(4, 76 // max(len(self.x_names), 1))  # characters that fit between two places
        named = {float(place): str(shorten(name, length)) for place, name in enumerate(self.x_names)}
        for tick, name in (named or {tick: number_text(tick) for tick in self.x.ticks()}).items():
            x = self.x(tick)
            parts.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 18}">{name}</text>')
        parts.append(
            f'<text class="axis" text-anchor="middle" x="{(LEFT + right) / 2:.0f}" y="{HEIGHT - 8}">{escape(text.x_label)}</text>'
        )
        middle = (TOP + bottom) / 2
        parts.append(
            f'<text class="axis" text-anchor="middle" transform="translate(13 {middle:.0f}) rotate(-90)">{escape(text.y_label)}</text>'
        )
        return "".join(parts)


def swatch(style: int | None) -> Markup:
    """Return the short line of a legend."""
    line = f'<line class="{style_class(style)}"{dash_attribute(style)} x1="1" x2="31" y1="6" y2="6"/>'
    return Markup(f'<svg class="swatch" viewBox="0 0 32 12" aria-hidden="true">{line}</svg>')


def frame_chart(body: Sequence[str], text: ChartText, height: float) -> Markup:
    """Return an SVG element with a title and a description. body: what it draws, with every text escaped."""
    key = escape(text.key)
    head = (
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-labelledby="{key}-title {key}-desc">'
        f'<title id="{key}-title">{escape(text.title)}</title><desc id="{key}-desc">{escape(text.description)}</desc>'
    )
    return Markup(head + "".join(body) + "</svg>")  # every text in it is escaped where it is added


def _spread_labels(heights: Sequence[float], least: float = 13) -> list[float]:
    """Return the heights moved apart, so that no two labels overlap, within the plotted area."""
    order = sorted(range(len(heights)), key=lambda number: heights[number])
    moved = [heights[number] for number in order]
    for before, after in pairwise(range(len(moved))):
        moved[after] = max(moved[after], moved[before] + least)
    overflow = max(0.0, moved[-1] - (HEIGHT - BOTTOM)) if moved else 0.0
    return [moved[order.index(number)] - overflow for number in range(len(heights))]


def style_class(style: int | None) -> str:
    """Return the class of a line style."""
    return "rest" if style is None else f"s{style % STYLES}"


def dash_attribute(style: int | None) -> str:
    """Return the dashes of a line style as an attribute."""
    dash = "" if style is None else DASHES[style % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def tooltip(name: str) -> Markup:
    """Return a name as a tooltip of the element that holds it."""
    return Markup("<title>{}</title>").format(name)


def shorten(name: str, length: int = LABEL) -> Markup:
    """Return a name, escaped, of at most so many characters."""
    return escape(name if len(name) <= length else name[: length - 1] + "…")


def number_text(value: float, *, percent: bool = False, sign: bool = False) -> str:
    """Return a number for an axis."""
    value = 0.0 if abs(value) < 1e-12 else value
    number = f"{100 * value:.6g} %" if percent else f"{value:,.6g}"
    return f"+{number}" if sign and value > 0 else number
