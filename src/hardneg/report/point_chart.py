"""A chart of named points with whiskers, whose names are placed where they cover nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup, escape

from hardneg.report.axis_range import CUT_NOTE, choose_range
from hardneg.report.svg import (
    BOTTOM,
    HEIGHT,
    LEFT,
    WIDTH,
    Axes,
    ChartText,
    Direction,
    Series,
    draw_arrow,
    frame_chart,
    style_class,
    tooltip,
)

CHARACTERS = 36
"""Characters of a name; the whole name is its tooltip."""
CHARACTER, LINE = 7.2, 15
"""Width of a character and height of a line of text."""
SHIFTS = [step * sign * LINE for step in range(6) for sign in ((-1, 1) if step else (0,))]
"""Heights beside a point at which its name may be, the preferred ones first."""
GAP, RADIUS = 9, 5
"""Distance of a name from its point, and the radius of a point."""
Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""
AREA: Box = (LEFT, 0, WIDTH, HEIGHT - BOTTOM + 4)
"""The part of the chart that names may use."""


@dataclass(frozen=True)
class _Mark:
    """A point in pixels: its place, the ends of its whisker, its classes and its name. cut: direction of its arrow."""

    x: float
    y: float
    top: float
    bottom: float
    classes: str
    name: str
    cut: Direction | None

    @classmethod
    def of(cls, point: Series, axes: Axes) -> _Mark:
        """Return the mark of a point, with its value in its name where the axis does not hold it."""
        value, name, scale = point.y[0], point.name, axes.y
        top, y, bottom = (scale(scale.clamp(value + side * point.spread)) for side in (1, 0, -1))
        cut: Direction | None = None if scale.holds(value) else ("up" if value > scale.high else "down")
        name = name if len(name) <= CHARACTERS else name[: CHARACTERS - 1] + "…"
        name += "" if cut is None else f": {value:.4f}"
        return cls(axes.x(point.x[0]), y, top, bottom, style_class(point.style), name, cut)

    @property
    def boxes(self) -> list[Box]:
        """The point and its whisker."""
        around = RADIUS + 1
        point = (self.x - around, self.y - around, self.x + around, self.y + around)
        return [point, (self.x - 2, self.top, self.x + 2, self.bottom)]


def scatter_chart(points: Sequence[Series], text: ChartText) -> Markup:
    """Return a chart of points with whiskers and names. x is logarithmic where it covers a factor of five or more.

    A few points far above or below the others are arrows at the end of the axis, named with their value.
    """
    xs = [point.x[0] for point in points]
    ys = choose_range([(point.y[0] - point.spread, point.y[0] + point.spread) for point in points])
    axes = Axes(xs, ys, log=min(xs) > 0 and max(xs) >= 5 * min(xs))
    marks = [_Mark.of(point, axes) for point in points]
    is_cut = any(mark.cut for mark in marks)
    body = [axes.draw(replace(text, y_label=f"{text.y_label} ({CUT_NOTE})") if is_cut else text)]
    for point, mark in zip(points, marks, strict=True):
        ends = f'x1="{mark.x:.1f}" x2="{mark.x:.1f}" y1="{mark.bottom:.1f}" y2="{mark.top:.1f}"'
        body.append(f'<line class="{mark.classes}" {ends}/>')
        place = f'cx="{mark.x:.1f}" cy="{mark.y:.1f}"'
        circle = f'<circle class="dot {mark.classes}" {place} r="{RADIUS}">{tooltip(point.name)}</circle>'
        body.append(circle if mark.cut is None else draw_arrow(mark.classes, mark.x, mark.y, mark.cut))
    taken = [box for mark in marks for box in mark.boxes]
    for point, mark in zip(points, marks, strict=True):
        box, side, shift = _place_name(mark, taken)
        taken.append(box)
        body.append(_draw_name(mark, side, shift, point.name))
    return frame_chart(body, text, HEIGHT)


def _place_name(mark: _Mark, taken: Sequence[Box]) -> tuple[Box, int, float]:
    """Return the box of a name, its side (1 is right), and its shift downwards: the place that covers the least."""
    places = [(_name_box(mark, side, shift), side, shift) for shift in SHIFTS for side in (1, -1)]
    return min(places, key=lambda place: sum(_overlap(place[0], box) for box in taken) + 10 * _outside(place[0]))


def _name_box(mark: _Mark, side: int, shift: float) -> Box:
    near, width = mark.x + side * GAP, side * CHARACTER * len(mark.name)
    left, right = sorted((near, near + width))
    middle = mark.y + shift
    return left, middle - LINE / 2, right, middle + LINE / 2


def _overlap(one: Box, other: Box) -> float:
    """Return the area that two boxes share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)


def _outside(box: Box) -> float:
    """Return the area of a box outside the part of the chart that names may use."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, AREA)


def _draw_name(mark: _Mark, side: int, shift: float, whole: str) -> str:
    x, y = mark.x + side * GAP, mark.y + shift
    anchor = "start" if side > 0 else "end"
    name = f'<text class="label" text-anchor="{anchor}" x="{x:.1f}" y="{y + 4:.1f}">{escape(mark.name)}{tooltip(whole)}</text>'
    if abs(shift) <= LINE:
        return name
    ends = f'x1="{mark.x:.1f}" x2="{x - 2 * side:.1f}" y1="{mark.y:.1f}" y2="{y:.1f}"'
    return f'<line class="rest" {ends}/>{name}'
