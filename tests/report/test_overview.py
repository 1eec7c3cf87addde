"""Overviews of several tables."""

import polars as pl

from hardneg.report.printers import side_by_side
from hardneg.report.tables import pairs_summary

BASE = {"row": "uniform", "ndcg@20": 0.1, "verdict": None}


def table(*rows: tuple[str, float, str]) -> pl.DataFrame:
    return pl.DataFrame([BASE, *({"row": name, "ndcg@20": mean, "verdict": verdict} for name, mean, verdict in rows)])


def test_means_are_side_by_side_with_their_verdicts() -> None:
    first = table(("DNS", 0.12, "better"), ("text", 0.05, "worse"))
    second = table(("text", 0.1, "not distinguishable"), ("random", 0.2, "control"))
    headers, cells = side_by_side({"a, MF": first, "b, MF": second}, "ndcg@20")
    assert headers == ["sampler", "a, MF", "b, MF"]
    assert cells == [
        ["uniform", "0.1000", "0.1000"],
        ["DNS", "0.1200 ▲", "–"],
        ["text", "0.0500 ▼", "0.1000"],
        ["random", "–", "0.2000"],
    ]


def test_pairs_are_counted_over_tables() -> None:
    def pairs(*lines: tuple[str, str, str, float]) -> pl.DataFrame:
        return pl.DataFrame(lines, schema=["row", "against", "verdict", "relative"], orient="row")

    frames = [
        pairs(("full", "random", "better", 0.1), ("full", "untuned", "worse", -0.2)),
        pairs(("full", "random", "not distinguishable", 0.3)),
        pairs(("DNS", "full", "better", 0.5), ("DNS", "full", "worse", -0.5)),
    ]
    found = pairs_summary(frames)
    assert found.rows() == [
        ("full against random", 2, 1, 1, 0, 0.2),
        ("full against untuned", 1, 0, 0, 1, -0.2),
        ("DNS against full", 1, 1, 0, 0, 0.5),
    ]
