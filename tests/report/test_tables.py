"""Tables are data first; printers only print."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from hardneg.errors import ConfigError
from hardneg.evaluation import compare, holm
from hardneg.report import plots, tables
from hardneg.report.page import Page, ShownPair, ShownUser, render
from hardneg.report.tables import Measured


@pytest.fixture
def rows() -> list[Measured]:
    rng = np.random.default_rng(0)
    users = rng.random(200)

    def row(name: str, lift: float, false_negatives: dict[str, float]) -> Measured:
        values = {metric: users + lift + 0.1 * rng.normal(size=(3, 200)) for metric in ("ndcg@20", "recall@20")}
        return Measured(name, values, np.array([1.0, 2.0, 3.0]), false_negatives)

    mixed = {"hop 0": 0.1, "hop 1": 0.3, "nearest item": 0.5}
    return [row("uniform", 0.0, {"item": 0.02}), row("better", 0.2, mixed), row("same", 0.0, {})]


def test_the_frame_holds_means_spreads_and_adjusted_differences(rows: list[Measured]) -> None:
    frame = tables.comparison(rows, "uniform", ("ndcg@20", "recall@20"))
    assert frame.shape[0] == 3
    uniform, better, same = frame.iter_rows(named=True)
    by_seed = rows[1].values["ndcg@20"].mean(axis=1)
    assert better["ndcg@20"] == pytest.approx(by_seed.mean())
    assert better["ndcg@20 sd"] == pytest.approx(np.std(by_seed, ddof=1))
    differences = [compare(row.values["ndcg@20"], rows[0].values["ndcg@20"]) for row in rows[1:]]
    assert [better["p_holm"], same["p_holm"]] == pytest.approx(holm([d.p for d in differences]))
    assert better["low"] > 0
    assert same["low"] < 0 < same["high"]
    assert uniform["difference"] is None
    assert better["seconds"] == 2.0


def test_false_negatives_of_vectors_are_those_of_their_parts_and_the_nearest_item_stands_apart(
    rows: list[Measured],
) -> None:
    uniform, better, same = tables.comparison(rows, "uniform", ("ndcg@20",)).iter_rows(named=True)
    assert (uniform["false_negatives"], uniform["nearest"]) == (0.02, None)
    assert (better["false_negatives"], better["nearest"]) == (pytest.approx(0.2), 0.5)
    assert (same["false_negatives"], same["nearest"]) == (None, None)


def test_a_missing_baseline_is_named(rows: list[Measured]) -> None:
    with pytest.raises(ConfigError, match="found rows uniform, better, same, expected 'random'"):
        tables.comparison(rows, "random", ("ndcg@20",))


def test_markdown_has_one_line_a_row(rows: list[Measured]) -> None:
    frame = tables.comparison(rows, "uniform", ("ndcg@20",))
    headers, cells = tables.as_text(frame, ("ndcg@20",), "uniform")
    lines = tables.markdown(headers, cells).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {len(headers) + 1}
    assert "nDCG@20" in lines[0]
    assert "20.0% | 50.0%" in lines[3]


def test_columns_that_need_the_truth_are_left_out_where_it_is_unknown(rows: list[Measured]) -> None:
    unknown = [replace(row, false_negatives={}) for row in rows]
    headers, cells = tables.as_text(tables.comparison(unknown, "uniform", ("ndcg@20",)), ("ndcg@20",), "uniform")
    assert headers == ["sampler", "nDCG@20", "nDCG@20 vs uniform [95 %]", "p (Holm)", "s / run"]
    assert {len(row) for row in cells} == {5}


def page(liked: dict[str, float]) -> Page:
    pair = ShownPair("<b>pot</b>", {"uniform": ["tent"], "DNS": []})
    curves = {"row": ["uniform"] * 2, "seed": [0, 0], "epoch": [1, 2], "split": ["valid"] * 2}
    return Page(
        title="A title",
        lead="",
        answers=[("Question?", "Answer.")],
        headers=["sampler", "x"],
        cells=[["uniform", "1"]],
        notes=["A note."],
        curves=pl.DataFrame(curves | {"metric": ["ndcg@20"] * 2, "value": [0.1, 0.2]}),
        metric="ndcg@20",
        served=pl.DataFrame({"row": ["uniform"], "seed": [0], "epoch": [1], "like_probability": [0.1]}),
        users=[ShownUser("u1", ["pot"], "", [pair], liked)],
        facts=[("name", "value")],
    )


def test_the_page_is_one_file_that_needs_no_network() -> None:
    text = render(page({"tent": 0.7}))
    assert text.startswith("<!doctype html>")
    assert "<svg" in text
    for outside in ('src="http', 'href="http', "@import", "<script", "url(http", "<link"):
        assert outside not in text
    assert "Question?" in text
    assert '<span class="liked">70&nbsp;%</span>' in text


def test_texts_from_data_cannot_write_into_the_page() -> None:
    text = render(page({}))
    assert "<b>pot</b>" not in text
    assert "&lt;b&gt;pot&lt;/b&gt;" in text
    assert "none: train says nothing in words" in text
    assert "no catalogue item" in text


def test_plots_draw_on_the_axes_given_and_state_units() -> None:
    figure, (left, right) = plots.new_figure(2)
    assert plots.learning_curves(page({}).curves, "ndcg@20", ax=left) is left
    plots.false_negatives_by_epoch(page({}).served, ax=right)
    assert left.get_xlabel() == right.get_xlabel() == "epoch"
    assert left.get_ylabel() == "validation nDCG@20"
    assert list(left.lines[0].get_ydata()) == [0.1, 0.2]
    assert figure.axes == [left, right]
