"""The metric by popularity of the held-out item, and by history of the user."""

from __future__ import annotations

from typing import Any

from hardneg.data import split as splits
from hardneg.evaluation import group_by_item_share
from hardneg.report.figure_data import MARKS, FigureData
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import INTERVALS, Panel, describe_places, half_width, join_conclusions, points_frame
from hardneg.studies.run_comparison import OVER, ComparedMethod, compare_groups

SHARES = (0.8, 0.95)
"""Limits of the groups of items in HNLMRec: the least popular 80 %, the next 15 %, the most popular 5 %."""
TESTS = "Tests resample {over}; p < .05 after Holm over the lines and groups of this chart.{alone}"
ALONE = " With fewer than three seeds they say nothing about other seeds."


def draw_groups(panel: Panel, spec: FigureSpec, key: str) -> FigureData | None:
    """Return a curve of each line over the groups, from the coldest on."""
    base, lines = panel.baseline, panel.shown(spec)
    if base is None or base not in lines:
        return None
    methods = []
    for line in lines:
        tasks = panel.runs[line]
        methods.append(ComparedMethod(line, tuple(task.folder for task in tasks), tuple(task.seed for task in tasks)))
    split, of_items = splits.read_split(panel.study.plan.split_dir(panel.split)), spec.x == "item group"
    popular = group_by_item_share(split.train, split.test, SHARES) if of_items else None
    first, *_ = compare_groups(methods, split, base, panel.metric, by_popularity=of_items, popular=popular)
    rows = [_point(line) for line in first.frame.iter_rows(named=True)]
    sentences = []
    for line in (line for line in lines if line != base):
        own = {str(row["x_name"]): str(row["verdict"]) for row in rows if row["series"] == line}
        sentences.append(describe_places(line, base, own))
    of = "the item" if of_items else "the user"
    shares = (
        " Groups are the least popular 80 % of the items, the next 15 % and the most popular 5 %." if of_items else ""
    )
    over = first.frame["tested_over"].drop_nulls().unique().sort().to_list()
    tests = TESTS.format(over=" or ".join(over), alone=ALONE if OVER[False] in over else "") if over else ""
    conclusion = join_conclusions(sentences)
    note = f"Test {panel.label}.{shares} {INTERVALS} {MARKS.format(against=base)} {tests}"
    title = f"{panel.label} by {'popularity' if of_items else 'history'} of {of}: {panel.title}"
    label = f"train pairs of {of}"
    return FigureData(key, title, "lines", label, f"test {panel.label}", conclusion, note, points_frame(rows))


def _point(line: dict[str, Any]) -> dict[str, object]:
    """Return a row of numbers from a line of the comparison of groups."""
    margin = None
    if line["sd"] is not None:
        margin = half_width(line["sd"], line["seeds"])
    ends = {} if margin is None else {"low": line["mean"] - margin, "high": line["mean"] + margin}
    name = line["group"].removesuffix(" train pairs").removesuffix(" train pair")
    return {"series": line["method"], "x_name": name, "value": line["mean"], **ends, "verdict": line["verdict"]}
