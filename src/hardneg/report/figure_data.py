"""A figure as numbers: what it shows, its caption, and the chart of them, in the page and as a file of its own."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import polars as pl
from markupsafe import Markup, escape

from hardneg.report.page import PageFigure
from hardneg.report.row_charts import Interval, NamedValues, dot_chart, interval_chart
from hardneg.report.svg import WIDTH, ChartText, style_of, swatch
from hardneg.report.tables import BETTER, WORSE
from hardneg.report.value_charts import (
    LineOptions,
    MapCell,
    Value,
    ValueLine,
    map_chart,
    value_line_chart,
)
from hardneg.report.verdicts import verdict_words

FigureKind = Literal["lines", "dots", "map", "differences"]
POINTS = {
    **dict.fromkeys(("series", "x_name"), pl.String),
    **dict.fromkeys(("x", "z", "value", "low", "high"), pl.Float64),
    "verdict": pl.String,
}
"""Columns of the numbers of a figure. series: line or method. x: place, null for a horizontal line. x_name: its text.
z: second setting of a map. value, low, high: what is drawn, with its interval. verdict: null without a comparison."""
LOG_FROM = 8
"""Ratio of the largest to the smallest place from which an axis is logarithmic."""
LEGEND_ROW = 18
MARKS = "Filled marks differ significantly from {against}, hollow ones do not or were not tested."


@dataclass(frozen=True)
class FigureData:
    """A figure. key: name of its file. conclusion: what its tests allow to say. note: what is drawn, and how it is tested."""

    key: str
    title: str
    kind: FigureKind
    x_label: str
    y_label: str
    conclusion: str
    note: str
    points: pl.DataFrame
    percent: bool = False

    @property
    def texts(self) -> dict[str, Any]:
        """Everything but the numbers."""
        names = ("key", "title", "kind", "x_label", "y_label", "conclusion", "note", "percent")
        return {name: getattr(self, name) for name in names}

    @property
    def caption(self) -> str:
        """The conclusion, then what is drawn."""
        return f"{self.conclusion} {self.note}"

    @classmethod
    def of(cls, texts: Mapping[str, Any], points: pl.DataFrame) -> FigureData:
        """Return the figure of `texts` and its numbers."""
        return cls(**texts, points=points)

    @property
    def page_figure(self) -> PageFigure:
        """The chart with its legend, for a page."""
        text = ChartText(f"figure-{self.key}", self.title, self.caption, self.x_label, self.y_label)
        draw = {"lines": _draw_lines, "dots": _draw_dots, "map": _draw_map, "differences": _draw_differences}
        chart, legend = draw[self.kind](self, text)
        return PageFigure(self.title, chart, self.caption, legend)


Legend = list[tuple[int | None, str]]


def _values(frame: pl.DataFrame, places: Mapping[str, float] | None = None) -> list[Value]:
    return [
        Value(
            row["x"] if places is None else places[row["x_name"]],
            row["value"],
            row["low"],
            row["high"],
            filled=row["verdict"] in (BETTER, WORSE),
        )
        for row in frame.iter_rows(named=True)
    ]


def _draw_lines(figure: FigureData, text: ChartText) -> tuple[Markup, Legend]:
    """Draw lines over numbers, or over names in their order where some place is no number."""
    points = figure.points
    lines, references = points.filter(pl.col("x_name").is_not_null()), points.filter(pl.col("x_name").is_null())
    by_number = lines["x"].is_not_null().all()
    names = [] if by_number else lines["x_name"].unique(maintain_order=True).to_list()
    places = None if by_number else {name: float(place) for place, name in enumerate(names)}
    xs = lines["x"].to_list() if by_number else []
    log = bool(xs) and min(xs) > 0 and max(xs) >= LOG_FROM * min(xs)
    styles = {name: style_of(number) for number, name in enumerate(points["series"].unique(maintain_order=True))}
    drawn = [ValueLine(name, _values(frame, places), styles[name]) for name, frame in _by_series(lines)]
    flat = [ValueLine(name, [Value(0, frame["value"][0])], styles[name]) for name, frame in _by_series(references)]
    chart = value_line_chart(drawn, text, LineOptions(flat, names, log, figure.percent))
    return chart, [(style, name) for name, style in styles.items()]


def _by_series(frame: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    names = frame["series"].unique(maintain_order=True).to_list()
    return [(name, frame.filter(pl.col("series") == name)) for name in names]


def _draw_dots(figure: FigureData, text: ChartText) -> tuple[Markup, Legend]:
    """Draw a row for each x_name, with a mark for each series."""
    series = figure.points["series"].unique(maintain_order=True).to_list()
    styles = {name: style_of(number + (len(series) > 1)) for number, name in enumerate(series)}
    rows = []
    for name in figure.points["x_name"].unique(maintain_order=True):
        frame = figure.points.filter(pl.col("x_name") == name)
        marks = zip((styles[one] for one in frame["series"]), _values(frame, {name: 0.0}), strict=True)
        rows.append(NamedValues(name, list(marks)))
    chart = dot_chart(rows, text, percent=figure.percent)
    return chart, [(style, name) for name, style in styles.items()] if len(series) > 1 else []


def _draw_map(figure: FigureData, text: ChartText) -> tuple[Markup, Legend]:
    xs, zs = (sorted(figure.points[name].unique()) for name in ("x", "z"))
    cells = [
        MapCell(xs.index(row["x"]), zs.index(row["z"]), row["value"], row["verdict"])
        for row in figure.points.iter_rows(named=True)
    ]
    return map_chart(cells, [f"{x:g}" for x in xs], [f"{z:g}" for z in zs], text), []


def _draw_differences(figure: FigureData, text: ChartText) -> tuple[Markup, Legend]:
    rows = []
    for row in figure.points.iter_rows(named=True):
        interval = "" if row["low"] is None else f" [{row['low']:+.1%}, {row['high']:+.1%}]"
        verdict, shown = row["verdict"] or "", f"{row['value']:+.1%}{interval}"
        rows.append(Interval(row["series"], row["value"], row["low"], row["high"], shown, verdict))
    described = "; ".join(f"{one.name}: {one.text}, {verdict_words(one.verdict)}" for one in rows)
    return interval_chart(rows, ChartText(text.key, text.title, described, text.x_label)), []


def standalone_svg(figure: PageFigure) -> str:
    """Return a chart as a file of its own: title, legend and chart, with the colours of the page's light style."""
    chart = str(figure.chart)
    match = re.search(r'viewBox="0 0 \d+ (\d+)"', chart)
    assert match is not None
    height, top = int(match[1]), 26 + LEGEND_ROW * len(figure.legend)
    parts = [f'<text class="title" x="16" y="18">{escape(figure.title)}</text>']
    for number, (style, name) in enumerate(figure.legend):
        y = 26 + LEGEND_ROW * number
        line = str(swatch(style)).replace("<svg ", f'<svg x="16" y="{y}" width="32" height="12" ', 1)
        parts.append(f'{line}<text x="54" y="{y + 10}">{escape(name)}</text>')
    chart = chart.replace("<svg ", f'<svg y="{top}" width="{WIDTH}" height="{height}" ', 1)
    size = f'width="{WIDTH}" height="{top + height}" viewBox="0 0 {WIDTH} {top + height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" class="chart file" {size}><style>{_file_style()}</style>'
    return f'{head}<rect class="paper" width="100%" height="100%"/>{"".join(parts)}{chart}</svg>\n'


@cache
def _file_style() -> str:
    """Return the rules of the page's style sheet for charts, with the values of its light variables."""
    css = (files("hardneg.report") / "templates" / "page.css").read_text(encoding="utf-8")
    variables = dict(re.findall(r"--(\w+): ([^;]+);", css[: css.index("@media")]))
    rules = [line for line in css.splitlines() if re.match(r"\.(chart|mark|swatch|s\d)\b", line)]
    rules = [rule for rule in rules if not rule.startswith((".chart {", ".swatch {"))]
    rules += [
        ".file { font: 12px sans-serif; }",
        ".paper { fill: #fff; }",
        ".title { font-size: 14px; font-weight: bold; }",
    ]
    return re.sub(r"var\(--(\w+)\)", lambda match: variables[match[1]], " ".join(rules))
