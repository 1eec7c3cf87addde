"""Rows with a baseline in a study and in a search."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.test_fusion import Letters

from hardneg import text
from hardneg.errors import ConfigError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.studies import Search, Study

from .conftest import STUDY, Write, results_of

ROWS = {
    "uniform": {"sampler": {"kind": "uniform"}},
    "EASE": {"baseline": {"kind": "ease", "l2": 30}},
    "item-kNN": {"baseline": {"kind": "item-knn"}, "models": ["MF"], "seeds": 1},
    "ALS": {"baseline": {"kind": "als", "embedding_size": 4, "iterations": 2}, "models": ["MF"]},
}


def test_baselines_are_lines_like_others(write_study: Write, tmp_path: Path) -> None:
    options = {"baseline.neighbours": [5, 50]}
    study = Study.load(write_study(rows=ROWS, seeds=2, options=options), tmp_path / "out")
    results = results_of(study)
    assert results.failed == {}
    lines = {table.model: table.frame["row"].to_list() for table in results.tables}
    assert lines["MF"] == ["uniform", "EASE", "item-kNN, neighbours 5", "item-kNN, neighbours 50", "ALS"]
    values = results.runs.filter(metric="ndcg", k=20).group_by("line").agg(pl.col("value").n_unique(), pl.len())
    counts = {line: (distinct, n) for line, distinct, n in values.iter_rows()}
    assert counts["EASE"][0] == 1
    assert counts["item-kNN, neighbours 5"] == (1, 1)
    assert counts["ALS"] == (2, 2)
    estimate = study.estimate()
    assert estimate.total == estimate.finished


def test_late_fusion_works_on_top(write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: Letters())
    rows = {"uniform": ROWS["uniform"], "EASE": ROWS["EASE"] | {"fusion": {"weights": [0, 2]}}}
    results = results_of(Study.load(write_study(rows=rows, seeds=1), tmp_path / "out"))
    assert results.failed == {}
    assert results.tables[0].frame["row"].to_list() == ["uniform", "EASE", "EASE + text"]


def test_a_search_tunes_a_baseline(write_search: Write, write_study: Write, tmp_path: Path) -> None:
    space = {"baseline.l2": {"low": 1, "high": 1000, "log": True}}
    rows = {"uniform": ROWS["uniform"], "EASE": {"baseline": {"kind": "ease"}}}
    search = Search.load(write_search(rows=rows, trials=3, space=space), tmp_path / "search")
    search.run(0)
    assert search.estimate().finished == 4
    trials = search.results().trials.filter(row="EASE")
    assert trials["value"].is_not_null().all()
    assert len(trials) == 3
    tuned = Study.load(
        write_study(rows=rows, tuned=str(tmp_path / "search"), models={"MF": STUDY["models"]["MF"]}), tmp_path
    )
    best = trials.sort("value", descending=True, maintain_order=True)["settings"][0]
    assert next(cell for cell in tuned.cells if cell.row == "EASE").config.baseline.l2 == pytest.approx(
        json.loads(best).get("baseline.l2", 250)
    )


def test_a_baseline_stands_alone(write_study: Write, tmp_path: Path) -> None:
    for row, found in (
        ({"baseline": {"kind": "ease"}, "sampler": {"kind": "dns"}}, "sampler"),
        ({"baseline": {"kind": "ease"}, "negatives": "x"}, "negatives"),
        ({"baseline": {"kind": "eas"}}, "did you mean 'ease'"),
    ):
        with pytest.raises(ConfigError, match=found):
            Study.load(write_study(rows={"uniform": ROWS["uniform"], "EASE": row}), tmp_path / "out")


def test_runs_without_a_baseline_keep_their_key() -> None:
    assert "baseline" not in RunConfig(model=MF()).model_dump(mode="json")
