"""Result tables against scipy, statsmodels and slow loops."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import compare_methods, holm
from hardneg.report import printers, tables
from hardneg.report.tables import MethodScores

METRICS = ("ndcg@20", "recall@20")


@pytest.fixture
def rows() -> list[MethodScores]:
    rng = np.random.default_rng(0)
    users = rng.random(200)

    def row(name: str, lift: float, false_negatives: dict[str, float]) -> MethodScores:
        values = {metric: users + lift + 0.1 * rng.normal(size=(3, 200)) for metric in ("ndcg@20", "recall@20")}
        return MethodScores(name, values, np.array([1.0, 2.0, 3.0]), false_negatives)

    mixed = {"hop 0": 0.1, "hop 1": 0.3, "nearest item": 0.5}
    return [row("uniform", 0.0, {"item": 0.02}), row("better", 0.2, mixed), row("same", 0.0, {})]


def test_the_frame_holds_means_spreads_and_adjusted_differences(rows: list[MethodScores]) -> None:
    frame = tables.comparison_table(rows, "uniform", ("ndcg@20", "recall@20"))
    assert frame.shape[0] == 3
    uniform, better, same = frame.iter_rows(named=True)
    by_seed = rows[1].values["ndcg@20"].mean(axis=1)
    assert better["ndcg@20"] == pytest.approx(by_seed.mean())
    assert better["ndcg@20 sd"] == pytest.approx(np.std(by_seed, ddof=1))
    differences = [compare_methods(row.values["ndcg@20"], rows[0].values["ndcg@20"]) for row in rows[1:]]
    assert [better["p_holm"], same["p_holm"]] == pytest.approx(holm([d.p for d in differences]))
    assert better["low"] > 0
    assert same["low"] < 0 < same["high"]
    assert uniform["difference"] is None
    assert better["seconds"] == 2.0


def test_false_negatives_of_vectors_are_means_over_parts_without_the_nearest_item(
    rows: list[MethodScores],
) -> None:
    uniform, better, same = tables.comparison_table(rows, "uniform", ("ndcg@20",)).iter_rows(named=True)
    assert (uniform["false_negatives"], uniform["nearest"]) == (0.02, None)
    assert (better["false_negatives"], better["nearest"]) == (pytest.approx(0.2), 0.5)
    assert (same["false_negatives"], same["nearest"]) == (None, None)


def test_a_missing_baseline_is_named(rows: list[MethodScores]) -> None:
    with pytest.raises(ConfigError, match="found rows uniform, better, same, expected 'random'"):
        tables.comparison_table(rows, "random", ("ndcg@20",))


def test_markdown_has_one_line_per_row(rows: list[MethodScores]) -> None:
    frame = tables.comparison_table(rows, "uniform", ("ndcg@20",))
    headers, cells = printers.comparison_text(frame, ("ndcg@20",), "uniform")
    lines = printers.markdown(headers, cells).splitlines()
    assert len(lines) == 5
    assert {line.count("|") for line in lines} == {len(headers) + 1}
    assert "nDCG@20" in lines[0]
    assert "20.0% | 50.0%" in lines[3]


def test_columns_that_need_the_truth_are_left_out_without_it(rows: list[MethodScores]) -> None:
    unknown = [replace(row, false_negatives={}) for row in rows]
    headers, cells = printers.comparison_text(
        tables.comparison_table(unknown, "uniform", ("ndcg@20",)), ("ndcg@20",), "uniform"
    )
    assert headers == [
        "sampler",
        "nDCG@20",
        "nDCG@20 vs uniform [95 %]",
        "p (Holm)",
        "users won / tied / lost",
        "s / run",
    ]
    assert {len(row) for row in cells} == {6}


def test_means_sds_and_relative_sizes_are_those_of_scipy(rows: list[MethodScores]) -> None:
    frame = tables.comparison_table(rows, "uniform", METRICS)
    for metric in METRICS:
        base = rows[0].values[metric].mean()
        for row, line in zip(rows, frame.iter_rows(named=True), strict=True):
            found = stats.describe(row.values[metric].mean(axis=1), ddof=1)
            assert line[metric] == pytest.approx(found.mean)
            assert line[f"{metric} sd"] == pytest.approx(np.sqrt(found.variance))
            if row is not rows[0]:
                difference, low, high, *shares = (
                    line[tables.column(name, metric, METRICS)]
                    for name in ("difference", "low", "high", "relative", "relative_low", "relative_high")
                )
                assert difference == pytest.approx(found.mean - base)
                assert low < difference < high
                assert shares == pytest.approx([difference / base, low / base, high / base])


def test_every_metric_is_a_separate_family(rows: list[MethodScores]) -> None:
    frame = tables.comparison_table(rows, "uniform", METRICS)
    for metric in METRICS:
        p, adjusted = (frame[tables.column(name, metric, METRICS)].to_list() for name in ("p", "p_holm"))
        assert p[0] is None
        assert adjusted[1:] == pytest.approx(multipletests(p[1:], method="holm")[1])
    swapped = tables.comparison_table(rows, "uniform", METRICS[::-1])
    assert swapped["difference"].equals(frame["recall@20 difference"])
    assert swapped["ndcg@20 p_holm"].equals(frame["p_holm"])


def test_a_verdict_is_given_below_five_percent_after_holm(rows: list[MethodScores]) -> None:
    worse = replace(rows[1], name="worse", values={m: 2 * rows[0].values[m] - v for m, v in rows[1].values.items()})
    frame = tables.comparison_table([*rows, worse], "uniform", METRICS)
    for name in ("verdict", "recall@20 verdict"):
        assert frame[name].to_list() == [None, "better", "not distinguishable", "worse"]


def test_wins_ties_and_losses_count_users_by_their_mean_over_seeds() -> None:
    base = np.array([[0.1, 0.2, 0.3, 0.4, 0.0]] * 3)
    other = np.array([[0.1, 0.9, 0.0, 0.0, 0.0], [0.1, 0.0, 0.9, 0.0, 0.0], [0.1, 0.0, 0.3, 0.0, 0.0]])
    rows = [
        MethodScores(name, {"ndcg@20": values}, np.ones(len(values)), {})
        for name, values in (("b", base), ("o", other))
    ]
    line = tables.comparison_table(rows, "b", ("ndcg@20",)).row(1, named=True)
    assert (line["wins"], line["ties"], line["losses"]) == (2, 2, 1)


@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.integers(3, 6))
@settings(max_examples=30, deadline=None)
def test_wins_ties_and_losses_agree_with_a_loop_over_users(seed: int, n_a: int, n_b: int) -> None:
    """Values of a coarse grid, so that many users tie; fractions decide exactly."""
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 3, size=(n_a, 12)), rng.integers(0, 3, size=(n_b, 12))
    rows = [MethodScores(name, {"ndcg@20": x / 10}, np.ones(len(x)), {}) for name, x in (("a", a), ("b", b))]
    line = tables.comparison_table(rows, "b", ("ndcg@20",)).row(0, named=True)
    signs = [
        (Fraction(int(x), n_a) > Fraction(int(y), n_b)) - (Fraction(int(x), n_a) < Fraction(int(y), n_b))
        for x, y in zip(a.sum(axis=0), b.sum(axis=0), strict=True)
    ]
    assert (line["wins"], line["ties"], line["losses"]) == (signs.count(1), signs.count(0), signs.count(-1))


def test_a_table_of_the_baseline_alone_keeps_its_columns(rows: list[MethodScores]) -> None:
    alone, all_rows = (
        tables.comparison_table(rows[:1], "uniform", METRICS),
        tables.comparison_table(rows, "uniform", METRICS),
    )
    assert alone.schema == all_rows.schema


def test_rows_of_one_name_are_refused(rows: list[MethodScores]) -> None:
    with pytest.raises(ConfigError, match="same"):
        tables.comparison_table([*rows, rows[2]], "uniform", METRICS)


def group(name: str, **lines: tuple[str | None, float | None]) -> pl.DataFrame:
    verdicts, relative = zip(*[(None, None), *lines.values()], strict=True)
    return pl.DataFrame({"row": [name, *lines], "verdict": verdicts, "relative": relative})


def test_the_summary_counts_groups_and_averages_relative_differences() -> None:
    one = group("uniform", dns=("better", 0.2), text=("not distinguishable", -0.1))
    two = group("uniform", dns=("worse", -0.1), text=("not distinguishable", 0.0), late=("better", 0.3))
    found = tables.summary_table({"sports x mf": one, "sports x lightgcn": two})
    assert found.columns == ["row", "groups", "better", "not_distinguishable", "worse", "relative"]
    assert found.drop("relative").rows() == [("dns", 2, 1, 0, 1), ("text", 2, 0, 2, 0), ("late", 1, 1, 0, 0)]
    assert found["relative"].to_list() == pytest.approx([0.05, -0.05, 0.3])


def test_the_summary_uses_the_requested_metric(rows: list[MethodScores]) -> None:
    frame = tables.comparison_table(rows, "uniform", METRICS)
    for metric in (None, "recall@20"):
        found = tables.summary_table({"one": frame, "two": frame}, metric)
        assert found["better"].to_list() == [2, 0]
        assert found["not_distinguishable"].to_list() == [0, 2]
        assert (found.select("better", "not_distinguishable", "worse").sum_horizontal() == found["groups"]).all()
    with pytest.raises(DataError, match="found no column 'hit_rate@5 verdict'"):
        tables.summary_table({"one": frame}, "hit_rate@5")


def test_groups_with_other_baselines_are_refused() -> None:
    groups = {"one": group("uniform", dns=("better", 0.2)), "two": group("popularity", dns=("better", 0.2))}
    with pytest.raises(DataError, match="found baselines uniform, popularity, expected the same one"):
        tables.summary_table(groups)
    with pytest.raises(DataError, match="found no group"):
        tables.summary_table({})


def test_controls_are_outside_the_family_and_not_counted(rows: list[MethodScores]) -> None:
    last = rows[-1].name
    frame = tables.comparison_table(rows, "uniform", METRICS, controls=[last])
    whole = tables.comparison_table(rows, "uniform", METRICS)
    control = frame.row(by_predicate=pl.col("row") == last, named=True)
    assert (control["p_holm"], control["verdict"]) == (None, "control")
    assert frame["p"].equals(whole["p"])
    kept = frame.filter(pl.col("p_holm").is_not_null())
    assert kept["p_holm"].to_list() == pytest.approx(holm(kept["p"].to_list()))
    assert last not in tables.summary_table({"one": frame})["row"].to_list()
    assert printers.comparison_text(frame, METRICS, "uniform")[1][-1][len(METRICS) + 2] == "–"
    assert "without controls" in printers.latex(frame, METRICS, "uniform")


def test_pairs_are_compared_in_a_separate_family(rows: list[MethodScores]) -> None:
    base, one, *_ = rows
    pairs = [(one, base), (base, one)]
    frame = tables.pairwise_table(pairs, METRICS)
    for metric in METRICS:
        found = [compare_methods(a.values[metric], b.values[metric]) for a, b in pairs]
        column = {name: tables.column(name, metric, METRICS) for name in ("difference", "low", "p", "p_holm", "wins")}
        assert frame[column["difference"]].to_list() == [difference.mean for difference in found]
        assert frame[column["low"]].to_list() == [difference.low for difference in found]
        assert frame[column["p_holm"]].to_list() == pytest.approx(holm([difference.p for difference in found]))
        assert frame[metric].to_list() == frame[f"{metric} against"].to_list()[::-1]
    headers, cells = printers.pairwise_text(frame, METRICS)
    assert all(len(line) == len(headers) for line in cells)
    assert [line[:2] for line in cells] == [[a.name, b.name] for a, b in pairs]
    second = METRICS[1]
    assert headers[-1] == f"{printers.metric_label(second)}, p (Holm)"
    shown = frame[f"{second} relative"][0], frame[f"{second} p_holm"][0]
    assert cells[0][-1] == f"{shown[0]:+.1%}, {printers.p_text(shown[1])}"


def test_pairs_with_few_seeds_are_tested_over_users_where_that_is_asked_for(rows: list[MethodScores]) -> None:
    one = replace(rows[1], values={"ndcg@20": rows[1].values["ndcg@20"][:1]})
    pairs = [(one, rows[0]), (rows[2], rows[0])]
    few, many = tables.pairwise_table(pairs, ("ndcg@20",), by_users=True).iter_rows(named=True)
    test = stats.ttest_rel(one.values["ndcg@20"][0], rows[0].values["ndcg@20"].mean(axis=0))
    assert few["p"] == pytest.approx(test.pvalue)
    assert many["p"] == compare_methods(rows[2].values["ndcg@20"], rows[0].values["ndcg@20"]).p
    assert [few["p_holm"], many["p_holm"]] == pytest.approx(holm([few["p"], many["p"]]))
    assert tables.pairwise_table(pairs, ("ndcg@20",))["verdict"].to_list()[0] == "not tested"
    single = replace(one, values={"ndcg@20": one.values["ndcg@20"][:, :1]})
    assert tables.pairwise_table([(single, single)], ("ndcg@20",), by_users=True)["verdict"].item() == "not tested"
