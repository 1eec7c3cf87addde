"""Figures of a study: their numbers, the tests behind their captions, and where they are written."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats
from tests.report.page_checks import check_page
from tests.studies.conftest import STUDY

from hardneg.config import validate_config
from hardneg.pipeline import find_evaluation
from hardneg.report import tables
from hardneg.report.figure_data import FigureData
from hardneg.report.tables import BETTER, UNDECIDED, WORSE
from hardneg.studies import Study
from hardneg.studies.figure_spec import FigureSpec
from hardneg.studies.figures.panel import UNTESTED_REMARK, describe_places, join_conclusions, value_of
from hardneg.studies.page import write_page
from hardneg.studies.results import Results
from hardneg.studies.runs import collect_scores

FIGURES = ["method", "difference", "pairs", "epoch", "second", "train share", "noise", "item group", "user group"]
FIGURES += ["seconds", "false negatives", "sampler.candidates"]
SPEC: dict[str, Any] = STUDY | {
    "models": {"MF": STUDY["models"]["MF"]},
    "options": {"sampler.candidates": [1, 4]},
    "comparisons": [["DNS, candidates 4", "DNS, candidates 1"]],
    "figures": [{"x": x} for x in FIGURES],
    "seeds": 3,
}
NOISE = {"noise": {"hidden": 0.5, "false_positives": 0.25}}


@pytest.fixture(scope="module")
def study(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study on a split and on the same split with half of its train pairs."""
    spec, split = copy.deepcopy(SPEC), {"folder": str(folders / "split"), "truth": "held-out"}
    loaded = Study.load(
        spec | {"splits": {"store": split, "store, half": split | NOISE}}, tmp_path_factory.mktemp("f") / "out"
    )
    loaded.run(0)
    return loaded


@pytest.fixture(scope="module")
def results(study: Study) -> Results:
    return study.results()


def figures_of(results: Results, x: str) -> list[FigureData]:
    number = [one["x"] for one in SPEC["figures"]].index(x) + 1
    return [one for one in results.figures if one.key.startswith(f"figure-{number}-")]


def per_seed(study: Study, split: str, line: str) -> np.ndarray:
    """Return the test metric of each run, read from its folder."""
    cell = next(cell for cell in study.cells if (cell.split, cell.line) == (split, line))
    frames = [pl.read_parquet(find_evaluation(study.task(cell, seed).folder) / "metrics.parquet") for seed in range(3)]
    return np.array([frame.filter(metric="ndcg", k=20)["value"].item() for frame in frames])


def test_every_figure_has_its_charts(results: Results) -> None:
    assert not results.failed
    charts = {x: len(figures_of(results, x)) for x in FIGURES}
    assert charts == {x: 1 if x in ("train share", "noise") else 2 for x in FIGURES}
    for one in results.figures:
        assert one.title
        assert one.x_label
        assert len(one.points)
        assert "95 % interval" in one.caption
        assert set(one.points["verdict"].unique()) <= {None, BETTER, WORSE, UNDECIDED, "control"}


def test_an_interval_is_that_of_student_over_seeds(study: Study, results: Results) -> None:
    for x in ("sampler.candidates", "method"):
        frame = figures_of(results, x)[0].points
        for row in frame.iter_rows(named=True):
            is_option = x != "method" and row["x_name"] is not None
            line = f"{row['series']}, candidates {row['x_name']}" if is_option else row["x_name"] or row["series"]
            values = per_seed(study, "store", line)
            low, high = stats.t.interval(0.95, 2, values.mean(), values.std(ddof=1) / np.sqrt(3))
            assert (row["value"], row["low"], row["high"]) == pytest.approx((values.mean(), low, high))
    assert value_of(np.array([0.3])) == {"value": 0.3, "low": None, "high": None}


def test_a_curve_is_compared_with_its_first_place_in_one_family(study: Study, results: Results) -> None:
    scores = {}
    for cell in study.cells:
        if cell.split == "store":
            task = study.task(cell, 0)
            scores[cell.line] = collect_scores(task.row, range(3), task.runs_dir)
    pairs = [(scores[f"{row}, candidates 4"], scores[f"{row}, candidates 1"]) for row in ("DNS", "MixGCF")]
    expected = tables.pairwise_table(pairs, ("ndcg@20",))["verdict"].to_list()
    one = figures_of(results, "sampler.candidates")[0]
    assert one.points.filter(x_name="4")["verdict"].to_list() == expected
    assert one.points.filter(x_name="1")["verdict"].to_list() == [None, None]
    assert one.points.filter(pl.col("x_name").is_null())["series"].to_list() == ["uniform"]


def test_splits_of_one_folder_are_places_of_one_chart(study: Study, results: Results) -> None:
    for x, places in (("train share", [0.5, 1.0]), ("noise", [0.0, 0.25])):
        (one,) = figures_of(results, x)
        assert one.points["x"].unique().sort().to_list() == places
        frame = one.points.filter(series="uniform").sort("x")
        splits = ["store, half", "store"] if x == "train share" else ["store", "store, half"]
        expected = [per_seed(study, split, "uniform").mean() for split in splits]
        np.testing.assert_allclose(frame["value"], expected)
        by_split = {
            table.split: dict(zip(table.frame["row"], table.frame["verdict"], strict=True)) for table in results.tables
        }
        for row in one.points.iter_rows(named=True):
            assert row["verdict"] == by_split[splits[places.index(row["x"])]][row["series"]]


def test_false_negatives_are_the_mean_of_the_runs_and_welch_compares_their_means(
    study: Study, results: Results
) -> None:
    one = figures_of(results, "false negatives")[0]
    rates = {}
    for cell in (cell for cell in study.cells if cell.split == "store"):
        frames = [pl.read_parquet(study.task(cell, seed).folder / "sampled.parquet") for seed in range(3)]
        kept = [
            frame.filter(pl.col("part") == ("nearest item" if cell.row == "MixGCF" else "item"))
            .group_by("epoch")
            .agg(pl.col("like_probability").mean())
            for frame in frames
        ]
        rates[cell.line] = np.array([frame.sort("epoch")["like_probability"].to_numpy() for frame in kept])
    for line, values in rates.items():
        np.testing.assert_allclose(one.points.filter(series=line)["value"], values.mean(axis=0))
    base, other = rates["uniform"].mean(axis=1), rates["DNS, candidates 4"].mean(axis=1)
    assert f"uniform ({base.mean():.2%})" in one.caption
    p = stats.ttest_ind(other, base, equal_var=False).pvalue
    if p > 0.05:  # the smallest p of a family is not smaller after Holm
        assert f"DNS, candidates 4, against uniform ({base.mean():.2%}): not significant" in one.caption
    assert "Held-out pairs among the sampled negatives" in one.caption


def test_runs_with_noise_use_the_split_with_noise(study: Study, folders: Path) -> None:
    noisy = study.plan.split_dir("store, half")
    n_pairs = [len(pl.read_parquet(folder / "train.parquet")) for folder in (folders / "split", noisy)]
    assert n_pairs[1] == pytest.approx(0.75 * n_pairs[0], rel=0.02)
    cell = next(cell for cell in study.cells if cell.split == "store, half")
    assert len(pl.read_parquet(study.task(cell, 0).folder / "seen.parquet")) == n_pairs[1]
    assert all(run.finished for run in study.runs())


def test_figures_are_files_and_in_the_page(study: Study, results: Results, tmp_path: Path) -> None:
    markdown = (study.out / "tables.md").read_text()
    page = check_page(write_page(study.out, tmp_path / "page.html").read_text(encoding="utf-8"), scripts=2)
    text = " ".join(" ".join(page.texts).split())
    for one in results.figures:
        assert (study.out / "tables" / f"{one.key}.svg").read_text().startswith("<svg ")
        assert pl.read_parquet(study.out / "tables" / f"{one.key}.parquet").equals(one.points)
        assert f"(tables/{one.key}.svg)" in markdown
        assert one.caption in markdown
        assert one.title in text


def test_sentences_follow_verdicts_alone() -> None:
    verdicts = {"0.1": BETTER, "0.2": BETTER, "0.5": UNDECIDED, "1": WORSE, "2": "control", "3": "not tested"}
    expected = "DNS, against uniform: better at 0.1, 0.2; worse at 1; no significant difference at 0.5."
    assert describe_places("DNS", "uniform", verdicts) == expected
    assert describe_places("DNS", "uniform", {"1": "not tested"}) == ""
    same = dict.fromkeys("123", UNDECIDED)
    assert describe_places("DNS", "uniform", same) == "DNS, against uniform: no significant difference at all places."
    assert join_conclusions(["", ""]) == UNTESTED_REMARK


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": "alfa"}, "x"),
        ({"x": "llm"}, "series are for x llm alone, which needs them"),
        ({"x": "method", "series": {"a": ["b"]}}, "series are for x llm alone"),
        ({"x": "method", "y": "sampler.alpha"}, "expected a setting on both"),
    ],
)
def test_other_figures_are_refused(values: dict[str, Any], message: str) -> None:
    _, problems = validate_config(FigureSpec, values)
    assert any(message in f"{'.'.join(map(str, path))} {text}" for path, text in problems)
