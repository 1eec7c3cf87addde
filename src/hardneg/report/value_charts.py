"""Charts of values with intervals along an axis, and of values over two settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from hardneg.report.svg import (
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Axes,
    ChartText,
    dash_attribute,
    frame_chart,
    shorten,
    style_class,
    tooltip,
)

MOST_WHISKERS = 12
"""Points of a line up to which intervals are whiskers; of longer lines they are a band."""
APART = 4
"""Pixels between the marks of two lines at one place."""
CELL = 34
"""Height of a row of `map_chart`."""
SIGNS = {"better": " ▲", "worse": " ▼"}


@dataclass(frozen=True)
class Value:
    """A value with its interval, if it has one. filled: it differs significantly from what it is compared with."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    filled: bool = False

    @property
    def ends(self) -> list[float]:
        """The value and the ends of its interval."""
        return [end for end in (self.y, self.low, self.high) if end is not None]


@dataclass(frozen=True)
class ValueLine:
    """A named line of values. style: number of its line style."""

    name: str
    values: Sequence[Value]
    style: int | None


@dataclass(frozen=True)
class LineOptions:
    """Options of `value_line_chart`. x_names: texts of the places 0, 1, ... references: horizontal lines, one value each."""

    references: Sequence[ValueLine] = ()
    x_names: Sequence[str] = ()
    log: bool = False
    percent: bool = False


def value_line_chart(lines: Sequence[ValueLine], text: ChartText, options: LineOptions | None = None) -> Markup:
    """Return a chart of values along an axis, with whiskers or bands, and horizontal lines of values without a place."""
    options = options or LineOptions()
    ys = [end for line in (*lines, *options.references) for value in line.values for end in value.ends]
    axes = Axes([value.x for line in lines for value in line.values], ys, log=options.log, x_names=options.x_names)
    body = [axes.draw(text, percent=options.percent)]
    for line in options.references:
        y = f"{axes.y(line.values[0].y):.1f}"
        ends = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"'
        body.append(
            f'<line class="{style_class(line.style)}" stroke-dasharray="2 4" {ends}>{tooltip(line.name)}</line>'
        )
    for number, line in enumerate(lines):
        body.append(_draw_line(line, axes, APART * (number - (len(lines) - 1) / 2)))
    return frame_chart(body, text, HEIGHT)


def _draw_line(line: ValueLine, axes: Axes, shift: float) -> str:
    """Return the marks of a line. shift: pixels to the right, where whiskers of several lines would overlap."""
    style, is_long = style_class(line.style), len(line.values) > MOST_WHISKERS
    shift = 0.0 if is_long else shift
    places = [(axes.x(value.x) + shift, axes.y(value.y)) for value in line.values]
    parts = [_draw_band(line, axes)] if is_long else []
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(
        f'<polyline class="{style}"{dash_attribute(line.style)} points="{points}">{tooltip(line.name)}</polyline>'
    )
    for value, (x, y) in zip(line.values, places, strict=True):
        if is_long:
            break
        if value.low is not None and value.high is not None:
            ends = f'y1="{axes.y(value.low):.1f}" y2="{axes.y(value.high):.1f}"'
            parts.append(f'<line class="whisker {style}" x1="{x:.1f}" x2="{x:.1f}" {ends}/>')
        parts.append(f'<circle class="{dot_class(value.filled)} {style}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return "".join(parts)


def _draw_band(line: ValueLine, axes: Axes) -> str:
    known = [
        (value.x, value.low, value.high) for value in line.values if value.low is not None and value.high is not None
    ]
    upper = [f"{axes.x(x):.1f},{axes.y(high):.1f}" for x, _, high in known]
    lower = [f"{axes.x(x):.1f},{axes.y(low):.1f}" for x, low, _ in reversed(known)]
    return f'<polygon class="band {style_class(line.style)}" points="{" ".join([*upper, *lower])}"/>' if known else ""


def dot_class(is_filled: bool) -> str:
    """Return the class of a mark."""
    return "dot" if is_filled else "dot hollow"


@dataclass(frozen=True)
class MapCell:
    """A cell of `map_chart`: its column and row from 0, its value, and its verdict."""

    column: int
    row: int
    value: float
    verdict: str | None


def map_chart(cells: Sequence[MapCell], columns: Sequence[str], rows: Sequence[str], text: ChartText) -> Markup:
    """Return a table of coloured cells, darker for higher values, with ▲ or ▼ for significant differences."""
    low, high = (end(cell.value for cell in cells) for end in (min, max))
    width, bottom = (WIDTH - LEFT - RIGHT) / len(columns), TOP + CELL * len(rows)
    body = []
    for cell in cells:
        x, y = LEFT + width * cell.column, TOP + CELL * (len(rows) - 1 - cell.row)
        shade = 0.06 + 0.44 * ((cell.value - low) / (high - low) if high > low else 0.0)
        area = f'x="{x:.1f}" y="{y}" width="{width - 2:.1f}" height="{CELL - 2}"'
        body.append(f'<rect class="cell" fill-opacity="{shade:.2f}" {area}/>')
        name = f"{cell.value:.4f}{SIGNS.get(cell.verdict or '', '')}"
        body.append(f'<text text-anchor="middle" x="{x + width / 2 - 1:.1f}" y="{y + CELL / 2 + 3:.0f}">{name}</text>')
    for number, name in enumerate(columns):
        x = LEFT + width * (number + 0.5)
        body.append(f'<text class="tick" text-anchor="middle" x="{x:.1f}" y="{bottom + 16}">{shorten(name, 10)}</text>')
    for number, name in enumerate(rows):
        place = f'x="{LEFT - 6}" y="{TOP + CELL * (len(rows) - 0.5 - number) + 3:.0f}"'
        body.append(f'<text class="tick" text-anchor="end" {place}>{shorten(name, 7)}</text>')
    axis = '<text class="axis" text-anchor="middle"'
    body.append(f'{axis} x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{bottom + 36}">{escape(text.x_label)}</text>')
    turned = f'transform="translate(13 {(TOP + bottom) / 2:.0f}) rotate(-90)"'
    body.append(f"{axis} {turned}>{escape(text.y_label)}</text>")
    return frame_chart(body, text, bottom + 44)
