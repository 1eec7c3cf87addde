"""Charts as SVG: text remains text, colours come from the style sheet of the page, and every chart has a description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from markupsafe import Markup, escape

Direction = Literal["left", "right", "up", "down"]
WIDTH, HEIGHT = 480, 300
LEFT, RIGHT, TOP, BOTTOM = 62, 14, 12, 46
"""Margins around the plotted area."""
STYLES = 9
"""Number of line styles in the style sheet (classes s0 to s8); other lines are thin."""
DASHES = ("", "7 3", "2 3", "9 3 2 3")


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

    def holds(self, value: float) -> bool:
        """Return True for values within the scale."""
        return self.low <= value <= self.high

    def clamp(self, value: float) -> float:
        """Return the nearest value within the scale."""
        return min(max(value, self.low), self.high)

    def ticks(self, about: int = 5) -> list[float]:
        """Return about so many round values."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        else:
            rough = (self.high - self.low) / about
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


def style_class(style: int | None) -> str:
    """Return the class of a line style."""
    return "rest" if style is None else f"s{style % STYLES}"


def dash_attribute(style: int | None) -> str:
    """Return the dashes of a line style as an attribute."""
    dash = "" if style is None else DASHES[style % len(DASHES)]
    return f' stroke-dasharray="{dash}"' if dash else ""


def draw_arrow(classes: str, x: float, y: float, direction: Direction) -> str:
    """Return the head of an arrow whose tip is at a place."""
    back, side = {"left": (7, 0), "right": (-7, 0), "up": (0, 7), "down": (0, -7)}[direction], 5
    wings = [(x + back[0] + sign * side * bool(back[1]), y + back[1] + sign * side * bool(back[0])) for sign in (-1, 1)]
    points = " ".join(f"{one:.1f},{other:.1f}" for one, other in (wings[0], (x, y), wings[1]))
    return f'<polyline class="{classes}" points="{points}"/>'


def tooltip(name: str) -> Markup:
    """Return a name as a tooltip of the element that holds it."""
    return Markup("<title>{}</title>").format(name)


def shorten(name: str, length: int) -> Markup:
    """Return a name, escaped, of at most so many characters."""
    return escape(name if len(name) <= length else name[: length - 1] + "…")


def number_text(value: float, *, percent: bool = False, sign: bool = False) -> str:
    """Return a number for an axis."""
    value = 0.0 if abs(value) < 1e-12 else value
    number = f"{100 * value:.6g} %" if percent else f"{value:,.6g}"
    return f"+{number}" if sign and value > 0 else number
