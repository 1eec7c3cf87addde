"""Charts of values: places, intervals, marks, and escaping; and the file that holds one."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest
from tests.report.page_checks import ATTACK

from hardneg.report.figure_data import POINTS, FigureData, FigureKind, standalone_svg
from hardneg.report.row_charts import NamedValues, dot_chart
from hardneg.report.svg import ChartText
from hardneg.report.value_charts import (
    LineOptions,
    MapCell,
    Value,
    ValueLine,
    map_chart,
    value_line_chart,
)

TEXT = ChartText("key", "A title", "a description", "alpha", "nDCG@20")


def numbers(pattern: str, svg: str) -> list[tuple[float, ...]]:
    return [tuple(map(float, found)) for found in re.findall(pattern, svg)]


def test_places_are_linear_or_logarithmic() -> None:
    line = ValueLine("a", [Value(1, 0.1), Value(10, 0.2), Value(100, 0.3)], 0)
    for options, ratio in ((LineOptions(), 10), (LineOptions(log=True), 1)):
        ((points,),) = [re.findall(r'points="([^"]+)"', value_line_chart([line], TEXT, options))]
        x = [float(pair.split(",")[0]) for pair in points.split()]
        assert x[2] - x[1] == pytest.approx(ratio * (x[1] - x[0]), rel=0.02)


def test_a_whisker_has_the_ends_of_its_interval_and_the_mark_is_filled_where_significant() -> None:
    values = [Value(0, 0.2, 0.1, 0.3, filled=True), Value(1, 0.2)]
    svg = value_line_chart([ValueLine("a", values, 0)], TEXT)
    ((low, high),) = numbers(r'class="whisker s0"[^>]*y1="([\d.]+)" y2="([\d.]+)"', svg)
    y, _ = re.findall(r'<circle class="dot[^"]* s0"[^>]*cy="([\d.]+)"', svg)
    assert (low + high) / 2 == pytest.approx(float(y), abs=0.1)
    assert re.findall(r'circle class="([\w ]+)"', svg) == ["dot s0", "dot hollow s0"]


def test_long_lines_have_a_band() -> None:
    values = [Value(x, x / 20, x / 20 - 0.1, x / 20 + 0.1) for x in range(20)]
    svg = value_line_chart([ValueLine("a", values, 0)], TEXT)
    (polygon,) = re.findall(r'polygon class="band s0" points="([^"]+)"', svg)
    assert len(polygon.split()) == 40
    assert "<circle" not in svg


def test_a_reference_lies_at_its_value() -> None:
    line, flat = ValueLine("a", [Value(0, 0.1), Value(1, 0.3)], 0), ValueLine("b", [Value(0, 0.3)], 1)
    svg = value_line_chart([line], TEXT, LineOptions([flat], ["x", "y"]))
    ((y1, y2),) = numbers(r'<line class="s1"[^>]*y1="([\d.]+)" y2="([\d.]+)"', svg)
    points = re.findall(r'points="[\d.]+,[\d.]+ [\d.]+,([\d.]+)"', svg)
    assert y1 == y2 == pytest.approx(float(points[0]))
    assert re.findall(r">([xy])</text>", svg) == ["x", "y"]


def test_rows_of_dots_and_cells_of_a_map() -> None:
    rows = [NamedValues("one", [(0, Value(0, 0.1)), (1, Value(0, 0.4, 0.3, 0.5, filled=True))]), NamedValues("two")]
    svg = dot_chart(rows, TEXT)
    assert re.findall(r'circle class="([\w ]+)"', svg) == ["dot hollow s0", "dot s1"]
    cells = [MapCell(0, 0, 0.1, None), MapCell(1, 0, 0.2, "better"), MapCell(0, 1, 0.05, "worse")]
    svg = map_chart(cells, ["0", "1"], ["a", "b"], TEXT)
    assert re.findall(r">(0\.[^<]+)<", svg) == ["0.1000", "0.2000 ▲", "0.0500 ▼"]
    shades = [float(shade) for shade in re.findall(r'fill-opacity="([\d.]+)"', svg)]
    assert shades == [pytest.approx(0.21, abs=0.01), 0.5, 0.06]


def figure(kind: FigureKind) -> FigureData:
    rows = [
        {"series": ATTACK, "x_name": name, "x": x, "z": z, "value": 0.1 * (x + 1), "low": 0.05, "high": 0.4}
        for name, x, z in (("a", 0.0, 0.0), ("b", 1.0, 0.0), (ATTACK, 0.0, 1.0))
    ]
    frame = pl.DataFrame([dict.fromkeys(POINTS) | row | {"verdict": "better"} for row in rows], schema=POINTS)
    return FigureData("figure-1", f"By {ATTACK}", kind, "x", "y", f"Caption {ATTACK}", "a note", frame)


@pytest.mark.parametrize("kind", ["lines", "dots", "map", "differences"])
def test_a_file_is_whole_and_texts_stay_text(kind: FigureKind, tmp_path: Path) -> None:
    one = figure(kind)
    svg = standalone_svg(one.page_figure)
    root = ET.fromstring(svg)
    tags = {element.tag.partition("}")[2] for element in root.iter()}
    assert tags <= {"svg", "style", "rect", "text", "line", "polyline", "polygon", "circle", "title", "desc"}
    assert "var(" not in svg
    assert "s0 { stroke: #" in svg
    assert one.title in [element.text for element in root.iter()]
    one.points.write_parquet(tmp_path / "points.parquet")
    again = FigureData.of(one.texts, pl.read_parquet(tmp_path / "points.parquet"))
    assert standalone_svg(again.page_figure) == svg
