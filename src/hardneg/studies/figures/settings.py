"""The metric by a setting, by two settings, or by the size of a language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hardneg.llm.sizes import find_parameters
from hardneg.report.figure_data import MARKS, FigureData
from hardneg.studies.cells import Cell
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import (
    INTERVALS,
    TESTS,
    Panel,
    compare_pairs,
    describe_places,
    join_conclusions,
    point,
    points_frame,
)

BILLION = 1e9


@dataclass(frozen=True)
class Place:
    """A line at a place of the axis."""

    line: str
    name: str
    x: float | None


def draw_setting(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the curve of each row over the values of a setting; rows without the setting are horizontal lines."""
    curves: dict[str, list[Place]] = {}
    for line in panel.shown(spec):
        cell = panel.cells[line]
        options = dict(cell.options)
        if spec.x in options:
            value = options.pop(spec.x)
            rest = ", ".join([cell.row, *(f"{field.partition('.')[2]} {other}" for field, other in options.items())])
            number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
            curves.setdefault(rest, []).append(Place(line, str(value), number))
    name = spec.x.partition(".")[2]
    return _draw_curves(panel, spec, key, curves, f"{panel.label} by {name}", f"{spec.x}", name)


def draw_llm(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the curve of each series over the size of the language model; by name where a size is unknown."""
    shown, curves = set(panel.shown(spec)), dict[str, list[Place]]()
    for series, rows in spec.series.items():
        places = []
        for line, cell in panel.cells.items():
            llm = _llm_of(cell)
            if cell.row in rows and line in shown and llm is not None:
                size = find_parameters(llm)
                places.append(Place(line, llm if size is None else _size_text(size), size and size / BILLION))
        curves[series] = sorted(places, key=lambda place: (place.x is None, place.x or 0.0))
    return _draw_curves(
        panel, spec, key, curves, f"{panel.label} by size of the language model", "parameters (billions)", "size"
    )


def _llm_of(cell: Cell) -> str | None:
    """Return the language model of what a line reads."""
    llms = (getattr(entry.recipe, "llm", None) for entry in cell.entries.values())
    return next((llm for llm in llms if llm is not None), None)


def _size_text(parameters: float) -> str:
    return f"{parameters / BILLION:.3g}B"


def _draw_curves(
    panel: Panel, spec: FigureSpec, key: str, curves: Mapping[str, Sequence[Place]], title: str, x_label: str, name: str
) -> FigureData | None:
    """Draw curves whose places are compared with the first one of their curve."""
    curves = {series: places for series, places in curves.items() if places}
    if not curves:
        return None
    scores, rows, sentences = panel.scores, list[dict[str, object]](), list[str]()
    pairs = [(place.line, own[0].line) for own in curves.values() for place in own[1:]]
    verdicts = dict(
        zip(pairs, compare_pairs([(scores[one], scores[other]) for one, other in pairs], panel.metric), strict=True)
    )
    for series, places in curves.items():
        first = places[0]
        own = {place.name: verdicts[place.line, first.line] for place in places[1:]}
        for place in places:
            values = scores[place.line].values[panel.metric].mean(axis=1)
            rows.append(point(series, place.name, place.x, values, own.get(place.name)))
        sentences.append(describe_places(series, f"{name} {first.name}", own))
    on_curves = {place.line for places in curves.values() for place in places}
    for line in (line for line in panel.shown(spec) if line not in on_curves):
        rows.append(point(line, None, None, scores[line].values[panel.metric].mean(axis=1), None))
    marks = MARKS.format(against=f"the first {name} of their curve")
    dotted = " Dotted: lines without a place on the axis." if len(on_curves) < len(panel.shown(spec)) else ""
    conclusion = join_conclusions(sentences)
    note = f"Test {panel.label}. {INTERVALS} {marks} {TESTS}{dotted}"
    return FigureData(
        key, f"{title}: {panel.title}", "lines", x_label, f"test {panel.label}", conclusion, note, points_frame(rows)
    )


def draw_map(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return the map of the first drawn row with both settings, compared with the smallest values of both."""
    rows = {
        line: dict(panel.cells[line].options)
        for line in panel.shown(spec)
        if {spec.x, spec.y} <= dict(panel.cells[line].options).keys()
    }
    row = next((panel.cells[line].row for line in rows), None)
    assert spec.y is not None
    places = {
        line: (float(options[spec.x]), float(options[spec.y]))
        for line, options in rows.items()
        if panel.cells[line].row == row
    }
    if not places:
        return None
    scores, first = panel.scores, min(places, key=places.__getitem__)
    others = [line for line in places if line != first]
    verdicts = dict(
        zip(others, compare_pairs([(scores[line], scores[first]) for line in others], panel.metric), strict=True)
    )
    points = []
    x_name, z_name = (field.partition(".")[2] for field in (spec.x, spec.y))
    for line, (x, z) in places.items():
        values = scores[line].values[panel.metric].mean(axis=1)
        points.append(point(str(row), f"{x_name} {x:g}, {z_name} {z:g}", x, values, verdicts.get(line)) | {"z": z})
    named = {f"({places[line][0]:g}, {places[line][1]:g})": verdict for line, verdict in verdicts.items()}
    against = f"({places[first][0]:g}, {places[first][1]:g})"
    conclusion = join_conclusions([describe_places(f"{row} at ({x_name}, {z_name})", against, named)])
    note = f"Cells are test {panel.label}, ▲ significantly higher and ▼ lower than at {against}. {TESTS}"
    title = f"{panel.label} by {x_name} and {z_name}: {panel.title}"
    return FigureData(key, title, "map", spec.x, spec.y, conclusion, note, points_frame(points))
