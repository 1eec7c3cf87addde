"""Figures of a page: which lines have colours, and long curves that are thinned."""

from __future__ import annotations

import polars as pl

from hardneg.report.figures import MOST_POINTS, CostAxis, cost_figure, curve_figures, line_styles


def test_the_baseline_and_the_best_lines_have_styles() -> None:
    names = [f"m{number}" for number in range(12)]
    frame = pl.DataFrame(
        {"row": ["base", *names], "x": [0.0, *map(float, range(12))], "verdict": [None, *["better"] * 12]}
    )
    styles = line_styles(frame, "x")
    assert {name for name, style in styles.items() if style is not None} == {"base", *names[4:]}
    assert (styles["base"], styles["m11"]) == (0, 1)


def test_long_curves_are_thinned_and_the_page_says_so() -> None:
    n = 500
    seeds = [
        pl.DataFrame(
            {
                "row": "a",
                "epoch": range(n),
                "value": [seed + e / n for e in range(n)],
                "seconds": [2.0 * e for e in range(n)],
            }
        )
        for seed in (0, 1)
    ]
    epochs, seconds = curve_figures(pl.concat(seeds), "ndcg@20", {"a": 0}, "key")
    assert epochs.chart.count(",") < 2 * MOST_POINTS
    assert f"about {MOST_POINTS} are drawn" in epochs.caption
    assert "a: 1.4980 at epoch 499" in epochs.chart
    assert "a: 1.4980 at second 998" in seconds.chart


def test_quality_stands_beside_its_cost_where_two_lines_have_one() -> None:
    frame = pl.DataFrame({"row": ["a", "b", "c"], "x@20": [0.1, 0.2, 0.15], "x@20 sd": [0.01, None, 0.0]})
    styles = {"a": 0, "b": 1, "c": None}
    money = CostAxis("money", "$", {"a": 0.0, "b": 1.25}, "Once for all seeds.")
    figure = cost_figure(frame, "x@20", styles, "key", money)
    assert figure is not None
    assert (figure.title, figure.chart.count("<circle")) == ("Quality against money", 2)
    assert "b: 0.2000 for 1.25 $" in figure.chart
    assert figure.caption.endswith(
        "Once for all seeds. 1 lines are left out: those with the lowest means, and those whose cost is unknown."
    )
    assert cost_figure(frame, "x@20", styles, "key", CostAxis("money", "$", {"a": 0.0}, "")) is None
