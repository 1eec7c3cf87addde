"""Beside a row of a table: few seeds, the limit of epochs, uniform, popularity, and missing inputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.report import printers, tables
from hardneg.report.tables import MethodScores
from hardneg.stage import Stage
from hardneg.studies import Study
from hardneg.studies.comparisons import mark_below_uniform
from hardneg.studies.row_notes import describe_runs

from .conftest import STUDY, Write, results_of, run_study

MF = {"MF": STUDY["models"]["MF"]}
NOTHING_LEARNT = {"sampler": {"kind": "uniform"}, "fit": {"learning_rate": 1e-9}}
"""A row that learns nothing."""


def notes_of(results: Any) -> dict[str, str]:
    frame = results.tables[0].frame
    return {row: notes or "" for row, notes in frame.select("row", "notes").iter_rows()}


@pytest.mark.parametrize("seeds", [1, 2])
def test_means_of_one_or_two_seeds_are_printed_but_not_tested(write_study: Write, tmp_path: Path, seeds: int) -> None:
    file = write_study(models=MF, seeds=seeds, comparisons=[["DNS", "MixGCF"]])
    said = CliRunner().invoke(app, ["study", "run", str(file), "--out", str(tmp_path / "out"), "--json"])
    assert said.exit_code == 0, said.output
    table = json.loads(said.stdout)["tables"][0]
    assert [row["verdict"] for row in table["rows"]] == [None, "not tested", "not tested"]
    runs = pl.read_parquet(tmp_path / "out" / "runs.parquet").filter(metric="ndcg", k=20)
    for row in table["rows"]:
        values = runs.filter(row=row["row"])["value"]
        assert row["ndcg@20"] == pytest.approx(values.mean())
        assert (row["ndcg@20 sd"] is None) == (seeds == 1)
        assert (row["p"], row["low"]) == (None, None)
        assert f"{seeds} seed" in row["notes"]
    page = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert "Means only, not tested with fewer than 3 seeds: uniform; DNS; MixGCF." in page
    dns = next(line for line in page.splitlines() if line.startswith("| DNS | 0."))
    assert " | not tested | " in dns
    assert f"{seeds} seed" in dns
    against = next(line for line in page.splitlines() if line.startswith("| DNS | MixGCF |"))
    assert " | not tested | " in against
    latex = (tmp_path / "out" / "tables" / "store-mf.tex").read_text(encoding="utf-8")
    assert "not tested" in latex
    assert (r"\pm" in latex.split(r"\bottomrule")[0]) == (seeds == 2)


def test_a_row_with_two_seeds_is_printed_beside_tested_ones(write_study: Write, tmp_path: Path) -> None:
    rows = {name: STUDY["rows"][name] for name in ("uniform", "DNS")} | {"twice": NOTHING_LEARNT | {"seeds": 2}}
    results = run_study(write_study(models=MF, rows=rows, seeds=3), tmp_path / "out")
    frame = results.tables[0].frame
    assert frame["row"].to_list() == ["uniform", "DNS", "twice"]
    assert frame["verdict"].to_list()[2] == "not tested"
    assert frame["p_holm"][1] == pytest.approx(frame["p"][1]), "it is no part of the family"
    assert results.tables[0].remarks == ["Means only, not tested with fewer than 3 seeds: twice."]
    assert tables.summary_table({"one": frame})["row"].to_list() == ["DNS"]
    both = {"one": frame, "two": frame}
    assert printers.side_by_side(both, "ndcg@20")[1][2][1].endswith(" (not tested)")


def test_a_row_at_the_limit_says_so(write_study: Write, tmp_path: Path) -> None:
    rows = {"uniform": {"sampler": {"kind": "uniform"}}, "nothing learnt": NOTHING_LEARNT}
    file = write_study(models=MF, rows=rows, seeds=3, fit={"epochs": 6, "check_every": 2, "learning_rate": 0.02})
    study = Study.load(file, tmp_path / "out")
    notes, limits = notes_of(results_of(study)), dict[str, int]()
    for run in study.runs():
        best = artifacts.read_manifest(run.task.folder, pipeline.RUN)["notes"]["best epoch"]
        limits[run.cell.line] = limits.get(run.cell.line, 0) + (best == 6)
    assert limits["uniform"] > 0 == limits["nothing learnt"]
    expected = f"still rising at epoch 6, the limit, in {limits['uniform']} of 3 seeds"
    assert expected in notes["uniform"]
    assert "still rising" not in notes["nothing learnt"]
    page = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert expected in next(line for line in page.splitlines() if line.startswith("| uniform |"))


def made_run(folder: Path, notes: dict[str, Any], evaluation: dict[str, Any]) -> Path:
    config = {"fit": {"epochs": 7}}

    def stage(kind: str, notes: dict[str, Any]) -> Stage:
        return Stage(kind, config, {}, lambda draft: draft.notes.update(notes))

    stage(pipeline.RUN, notes).run(folder)
    stage(pipeline.EVALUATION, evaluation).run(folder / "evaluation")
    return folder


def test_notes_of_runs(tmp_path: Path) -> None:
    below = {"below popularity": "nDCG@20 .01 against .03"}
    runs = [{"still rising": "raise it", "pairs": 8, "pairs without a vector": n} for n in (1, 2, 1)]
    poor = [made_run(tmp_path / f"poor{n}", notes, below) for n, notes in enumerate(runs)]
    assert describe_runs(poor, poor) == (
        "still rising at epoch 7, the limit, in 3 of 3 seeds",
        "16.7% of pairs without a vector",
        "below popularity",
    )
    good = made_run(tmp_path / "good", {}, {})
    assert describe_runs([*poor[:2], good], [good, good, good]) == (), "below popularity in two seeds of three"
    assert describe_runs([good], poor[:1])[:2] == (
        "1 seed, not tested",
        "still rising at epoch 7, the limit, in 1 of 1 seeds",
    ), "runs fused with text have the notes of those behind them"


def test_a_judge_that_likes_most_candidates_is_beside_the_row(write_study: Write, tmp_path: Path) -> None:
    suspects = {"all": {"method": "dual-tree", "run": {"model": "MF", "row": "uniform"}, "candidates": 6}}
    suspects["all"]["judge"] = {"kind": "all"}
    rows = {
        "uniform": STUDY["rows"]["uniform"],
        "without all": {"sampler": {"kind": "uniform"}, "suspects": {"name": "all", "use": "exclude"}},
    }
    results = run_study(write_study(models=MF, rows=rows, suspects=suspects, seeds=3), tmp_path / "out")
    assert results.failed == {}
    assert "the judge calls 100.0% of" in notes_of(results)["without all"]
    assert "the judge calls" not in notes_of(results)["uniform"]


def test_only_a_row_clearly_below_uniform_is_marked(write_study: Write, tmp_path: Path) -> None:
    study = Study.load(write_study(models=MF, baseline="DNS"), tmp_path / "out")
    rng = np.random.default_rng(0)
    users = rng.random(60)

    def scores(name: str, lift: float) -> MethodScores:
        values = {"ndcg@20": users + lift + 0.01 * rng.normal(size=(3, 60))}
        return MethodScores(name, values, np.ones(3), {})

    rows = [scores("uniform", 0.0), scores("DNS", -0.2), scores("MixGCF", 0.001)]
    marked = mark_below_uniform(rows, study.cells, "ndcg@20")
    assert [row.notes for row in marked] == [(), ("below uniform",), ()]
    assert [row.notes for row in mark_below_uniform(rows[1:], study.cells, "ndcg@20")] == [(), ()]


def test_a_column_of_notes_only_where_there_are_some() -> None:
    values = {"ndcg@20": np.random.default_rng(0).random((3, 20))}
    plain = [MethodScores(name, values, np.ones(3), {}) for name in ("a", "b")]
    noted = [plain[0], MethodScores("b", values, np.ones(3), {}, notes=("x", "y"))]
    for rows, last in ((plain, "s / run"), (noted, "notes")):
        headers, cells = printers.comparison_text(tables.comparison_table(rows, "a", ("ndcg@20",)), ("ndcg@20",), "a")
        assert headers[-1] == last
        assert {len(line) for line in cells} == {len(headers)}
    assert [line[-1] for line in cells] == ["", "x; y"]
