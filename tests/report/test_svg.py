"""Charts: where values lie, what is drawn thin, hollow or filled, and that names are escaped."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from tests.report.page_checks import ATTACK

from hardneg.report.point_chart import scatter_chart
from hardneg.report.row_charts import NAMES, Interval, interval_chart
from hardneg.report.svg import BOTTOM, HEIGHT, WIDTH, ChartText, Series, line_chart

TEXT = ChartText("key", "A title", "a description", "epoch", "nDCG@20")


def points(svg: str) -> list[list[tuple[float, float]]]:
    return [
        [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]
        for line in re.findall(r' points="([^"]+)"', svg)
    ]


def test_lines_lie_on_one_linear_scale() -> None:
    svg = line_chart([Series("a", [1, 2, 3], [0.1, 0.2, 0.4], 0)], TEXT)
    (((x1, y1), (x2, y2), (x3, y3)),) = points(svg)
    assert x2 - x1 == pytest.approx(x3 - x2, abs=0.2)
    assert y2 - y3 == pytest.approx(2 * (y1 - y2), abs=0.4)  # y grows downwards
    ticks = re.findall(r'text-anchor="end" x="56" y="([\d.]+)">([\d.]+)<', svg)
    (tick_y, value), *_ = ticks
    assert y1 - (float(value) - 0.1) / 0.1 * (y1 - y2) == pytest.approx(float(tick_y) - 4, abs=0.5)


def test_thin_lines_lie_below_the_others_and_a_single_check_is_a_dot() -> None:
    svg = line_chart([Series("a", [1, 2], [0, 1], 0), Series("b", [1, 2], [0, 1]), Series("c", [1], [1], 1)], TEXT)
    assert re.findall(r'polyline class="(\w+)"', svg) == ["rest", "s0", "s1"]
    assert svg.count("<circle") == 1


def test_marks_are_filled_where_the_difference_is_significant_alone() -> None:
    rows = [
        Interval("a", 0.2, 0.1, 0.3, "+20%", "better"),
        Interval("b", -0.1, -0.2, 0.1, "-10%", "not distinguishable"),
    ]
    rows += [
        Interval("c", 0.1, None, None, "+10%", "not tested"),
        Interval("d", float("nan"), None, None, "–", "worse"),
    ]
    svg = interval_chart(rows, TEXT)
    assert re.findall(r'<circle class="([\w ]+)"', svg) == ["mark better", "mark", "mark"]
    (zero,) = re.findall(r'class="zero" x1="([\d.]+)"', svg)
    ends = re.findall(r'<line class="mark[\w ]*" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert [(float(low) < float(zero), float(high) < float(zero)) for low, high in ends] == [
        (False, False),
        (True, False),
    ]


def test_names_of_near_points_do_not_overlap() -> None:
    svg = scatter_chart([Series(str(n), [n + 1.0], [0.5 + 1e-9 * n], n) for n in range(5)], TEXT)
    pattern = r'class="label" text-anchor="(\w+)" x="([\d.]+)" y="([\d.]+)"'
    boxes = [
        (float(x) - 10 * (side == "end"), float(x) + 10 * (side == "start"), float(y))
        for side, x, y in re.findall(pattern, svg)
    ]
    assert len(boxes) == 5
    for number, (left, right, y) in enumerate(boxes):
        assert 0 < y <= HEIGHT - BOTTOM + 10
        assert all(left >= end or right <= start or abs(y - other) > 12 for start, end, other in boxes[:number])


def test_a_difference_far_from_the_others_is_an_arrow_with_its_value() -> None:
    rows = [Interval(str(n), 0.01 * n, 0.01 * n - 0.02, 0.01 * n + 0.02, "", "") for n in range(4)]
    svg = interval_chart([*rows, Interval("far", -0.7, -0.8, -0.6, "", "worse")], TEXT)
    ((tip, end),) = re.findall(r'<line class="mark worse" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert (float(tip), float(end)) == (NAMES, NAMES + 24)
    assert re.findall(r'class="value"[^>]*>([^<]+)<', svg) == ["-70 %"]
    assert re.findall(r'<circle class="([\w ]+)"', svg) == ["mark"] * 4  # the cut row has no circle
    (points_of_arrow,) = points(svg)
    assert min(x for x, _ in points_of_arrow) == points_of_arrow[1][0] == NAMES
    assert "(arrow: beyond axis)" in svg
    assert "arrow" not in interval_chart(rows, TEXT)


def test_an_interval_that_leaves_the_axis_ends_in_an_arrow() -> None:
    rows = [Interval(str(n), 0.01 * n, 0.01 * n - 0.02, 0.01 * n + 0.02, "", "") for n in range(4)]
    svg = interval_chart([*rows, Interval("wide", 0.02, -0.6, 0.03, "", "")], TEXT)
    assert svg.count("<circle") == 5
    assert svg.count("<polyline") == 1
    lines = re.findall(r'<line class="mark[\w ]*" x1="([\d.]+)" x2="([\d.]+)"', svg)
    assert all(NAMES <= float(x) <= WIDTH for line in lines for x in line)


def test_names_of_rows_are_beside_the_marks_and_long_ones_take_three_lines() -> None:
    svg = interval_chart([Interval("semantic (retrieved), random vectors " * 3, 0.1, 0.0, 0.2, "+10%", "")], TEXT)
    labels = re.findall(r'class="label" x="(\d+)"[^>]*>([^<]+)<', svg)
    assert [x for x, _ in labels] == ["8"] * 3
    assert labels[2][1].endswith("…")
    marks = re.findall(r'<(?:line|circle) class="(?:mark|zero|grid)[\w ]*" (?:x1|cx)="([\d.]+)"', svg)
    assert min(map(float, marks)) >= NAMES


def test_a_point_far_below_the_others_is_an_arrow_named_with_its_value() -> None:
    near = [Series(str(n), [1.0 + n], [0.2 + 0.01 * n], n) for n in range(4)]
    svg = scatter_chart([*near, Series("popularity", [1.0], [0.0554], 5)], TEXT)
    assert ">popularity: 0.0554<" in svg
    assert (svg.count("<circle"), svg.count("<polyline")) == (4, 1)
    assert "nDCG@20 (arrow: beyond axis)" in svg


def test_every_chart_is_well_formed_and_hostile_names_stay_text() -> None:
    text = ChartText("key", ATTACK, ATTACK, ATTACK, ATTACK)
    series = [Series(ATTACK, [0.0, 3], [0.1, 0.1], 0), Series(ATTACK, [1], [0.1])]
    point = Series(ATTACK, [1.0], [0.0], 0)
    for svg in (
        line_chart(series, text, percent=True),
        scatter_chart([point], text),
        interval_chart([Interval(ATTACK, 0, 0, 0, ATTACK, ATTACK)], text),
    ):
        root = ET.fromstring(svg)
        assert {element.tag for element in root.iter()} <= {
            "svg",
            "title",
            "desc",
            "line",
            "text",
            "circle",
            "polyline",
        }
        title, description = root[:2]
        assert (title.text, description.text) == (ATTACK, ATTACK)
