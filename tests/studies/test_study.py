"""A study as a whole: killed and resumed, in processes, with failures, estimated beforehand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal
from typer.testing import CliRunner

from hardneg import pipeline, text
from hardneg.cli.main import app
from hardneg.errors import ConfigError
from hardneg.studies import Study, estimate
from hardneg.studies.results import RUNS, TABLES, Results
from hardneg.studies.runs import CLOCKS

from .conftest import STUDY, Write, results_of, run_study

SEMANTIC = {"kind": "semantic", "hidden_size": 8, "allow_empty": True}
"""Sampler for an encoder of made-up vectors, by which no item is near another."""


def assert_same(one: Path, other: Path) -> None:
    """Equal but for clocks."""
    a, b = (pl.read_parquet(out / RUNS).drop(CLOCKS) for out in (one, other))
    assert_frame_equal(a, b)
    for path in sorted((one / TABLES).glob("*.parquet")):
        x, y = (pl.read_parquet(out / TABLES / path.name).drop("seconds") for out in (one, other))
        assert_frame_equal(x, y)


@pytest.fixture(scope="module")
def whole(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Results]:
    """The unbroken study, in this process."""
    out = tmp_path_factory.mktemp("whole")
    (out / "study.yaml").write_text(
        yaml.safe_dump(STUDY | {"splits": {"store": str(folders / "split")}}, sort_keys=False)
    )
    return out / "out", run_study(out / "study.yaml", out / "out")


def test_one_table_of_runs_and_a_comparison_for_every_split_and_model(whole: tuple[Path, Results]) -> None:
    out, results = whole
    runs = pl.read_parquet(out / RUNS)
    assert_frame_equal(runs, results.runs)
    assert runs.select("split", "model", "line", "seed").n_unique() == 24
    assert runs.select("split", "model", "line", "seed", "metric", "k").n_unique() == len(runs) == 24 * 8
    assert runs["status"].unique().to_list() == ["done"]
    assert runs["value"].is_between(0, 1).all()
    assert runs["epochs"].unique().to_list() == [2]
    assert (out / runs["folder"][0] / "config.yaml").is_file()
    assert json.loads(runs["settings"][0])["fit"]["seed"] == 0
    assert [table.title for table in results.tables] == ["store, MF", "store, LightGCN"]
    for table in results.tables:
        assert table.frame is not None
        assert table.frame["row"].to_list() == ["uniform", "DNS", "MixGCF"]
    assert sorted(path.name for path in (out / TABLES).iterdir()) == [
        "store-lightgcn.md",
        "store-lightgcn.parquet",
        "store-lightgcn.tex",
        "store-mf.md",
        "store-mf.parquet",
        "store-mf.tex",
        "tables.json",
    ]
    page = (out / "tables.md").read_text(encoding="utf-8")
    assert "nDCG@20 vs uniform" in page
    assert "## Over all tables" in page
    assert "| DNS | 2 |" in page
    assert "| sampler | store, MF | store, LightGCN |" in page
    latex = (out / "tables" / "store-mf.tex").read_text(encoding="utf-8")
    assert latex.startswith("\\begin{tabular}")


def test_two_workers_give_the_same_tables_and_nothing_is_repeated(
    whole: tuple[Path, Results], write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_study(write_study(), tmp_path / "out", workers=2)
    assert_same(whole[0], tmp_path / "out")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be trained or scored again")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    monkeypatch.setattr("hardneg.pipeline.inference.evaluate_scores", forbidden)
    again = run_study(tmp_path / "study.yaml", tmp_path / "out")
    assert again.failed == {}
    assert_same(whole[0], tmp_path / "out")
    said = Study.load(tmp_path / "out" / "study.yaml", tmp_path / "out").runs()
    assert all(run.finished for run in said)  # what is kept beside the results is the study


def test_a_killed_and_resumed_study_equals_an_uninterrupted_one(
    whole: tuple[Path, Results], write_study: Write, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "hardneg.cli.main", "study", "run", str(write_study()), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--workers", "2"],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 180  # a busy machine starts slowly
    while len(finished(out)) < 5 and time.monotonic() < deadline:
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 5 <= len(finished(out)) < 24
    assert not (out / RUNS).exists()
    assert run_study(tmp_path / "study.yaml", out).failed == {}
    assert_same(whole[0], out)


def finished(out: Path) -> list[Path]:
    return [path for path in out.glob("runs/*/*/*/manifest.json") if not path.parent.name.startswith(".")]


def test_a_run_that_fails_is_listed_and_the_others_finish(write_study: Write, tmp_path: Path) -> None:
    rows = STUDY["rows"] | {"wild": {"sampler": {"kind": "uniform"}, "fit": {"learning_rate": 1e38}}}
    file = write_study(rows=rows, models={"MF": STUDY["models"]["MF"]}, seeds=3)
    words = ["study", "run", str(file), "--out", str(tmp_path / "out")]
    assert len(run_study(file, tmp_path / "out").failed) == 3
    result = CliRunner().invoke(app, words)  # tried again, in a process of its own, with the same end
    assert result.exit_code == 1, result.output
    assert "3 failed" in result.output
    assert "store / MF / wild, seed 2: the embeddings hold" in result.output
    assert "runs 3/3" in result.output  # and nothing else was
    runs = pl.read_parquet(tmp_path / "out" / RUNS)
    failed = runs.filter(pl.col("status") == "failed")
    assert failed["row"].to_list() == ["wild"] * 3
    assert failed["reason"].str.contains("not finite").all()
    assert runs.filter(pl.col("status") == "done").select("row", "seed").n_unique() == 9
    again = CliRunner().invoke(app, [*words, "--collect"])
    assert "store / MF / wild, seed 1: the embeddings hold" in again.output, "a reason is kept until the run stands"
    page = (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert "wild: 0 of 3 seeds finished; left out." in page
    assert "- store / MF / wild, seed 0: the embeddings hold" in page


class LengthEncoder:
    """Texts as short vectors, without a model."""

    name = identity = "lengths"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        found = np.array([[len(text), text.count("a"), text.count("e"), 1] for text in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_negatives_are_made_once_and_their_failure_costs_the_rows_that_need_them(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {
        "uniform": {"sampler": {"kind": "uniform"}},
        "text": {"sampler": SEMANTIC, "negatives": "retrieved"},
        "noise": {"sampler": SEMANTIC, "negatives": "noise"},
    }
    negatives = {"retrieved": {"method": "retrieved"}, "noise": {"method": "random", "like": "retrieved"}}
    file = write_study(rows=rows, negatives=negatives, models={"MF": STUDY["models"]["MF"]}, seeds=3)

    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())

    def broken(*_: object, **__: object) -> None:
        raise ConfigError("no encoder")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "retrieve_stage", broken)
        results = run_study(file, tmp_path / "out")
    assert len(results.failed) == 6
    assert "negatives 'retrieved' could not be made: no encoder" in results.failed["store / MF / text, seed 0"]
    assert "negatives 'noise' could not be made" in results.failed["store / MF / noise, seed 2"]
    assert results.runs.filter(pl.col("status") == "done")["row"].unique().to_list() == ["uniform"]
    assert run_study(file, tmp_path / "out").failed == {}
    assert (tmp_path / "out" / "shared" / "store" / "negatives-retrieved" / "negatives.parquet").is_file()


def test_an_estimate_trains_nothing_and_counts_finished_runs(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "SECONDS", 0.05)
    out = tmp_path / "out"
    small = {"models": {"MF": STUDY["models"]["MF"]}, "rows": {"uniform": STUDY["rows"]["uniform"]}}
    run_study(write_study(seeds=3, **small), out)
    rows = {name: STUDY["rows"][name] for name in ("uniform", "DNS")}
    before = sorted(out.rglob("*"))
    file = write_study(models=small["models"], rows=rows)
    words = ["study", "estimate", str(file), "--out", str(out)]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    assert "8 runs, 3 finished, 5 to run" in result.output
    assert "2, mean of 3 finished" in result.output
    assert "2, the upper bound" in result.output
    found = json.loads(CliRunner().invoke(app, [*words, "--json", "--workers", "2"]).stdout)
    assert (found["runs"], found["finished"]) == (8, 3)
    assert [cell["to_run"] for cell in found["cells"]] == [1, 4]
    assert 0 < found["hours"] < 0.01
    assert found["hours_in_parallel"] == found["hours"] / 2
    assert sorted(out.rglob("*")) == before


def test_collect_writes_finished_runs(write_study: Write, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["study", "run", str(write_study()), "--out", str(tmp_path / "out"), "--collect"])
    assert result.exit_code == 0, result.output
    assert "No comparison: 'uniform' has 0 finished seeds" in result.output
    assert pl.read_parquet(tmp_path / "out" / RUNS)["status"].unique().to_list() == ["not run"]
    assert result.stdout.splitlines()[-1].startswith("Next: hardneg study run ")


def test_the_next_command_recommends_with_the_run_that_is_best_on_validation(
    write_study: Write, tmp_path: Path
) -> None:
    file = write_study(models={"MF": STUDY["models"]["MF"]}, seeds=3)
    runs = run_study(file, tmp_path / "out").runs
    best = runs.sort("valid_value", descending=True)["folder"][0]
    result = CliRunner().invoke(app, ["study", "run", str(file), "--out", str(tmp_path / "out"), "--collect"])
    words = result.stdout.splitlines()[-1].removeprefix("Next: hardneg ").split()
    assert words[:2] == ["recommend", str(tmp_path / "out" / best)]
    assert CliRunner().invoke(app, words).exit_code == 0


def test_runs_of_other_settings_are_not_overwritten(write_study: Write, tmp_path: Path) -> None:
    small = {"models": {"MF": STUDY["models"]["MF"]}, "rows": {"uniform": STUDY["rows"]["uniform"]}, "seeds": 3}
    run_study(write_study(**small), tmp_path / "out")
    study = Study.load(write_study(**small, fit={"epochs": 3}), tmp_path / "out")
    with pytest.raises(ConfigError, match="3 run\\(s\\) are in the way"):
        study.run(0)


def test_a_higher_limit_of_epochs_goes_on_from_the_finished_runs(write_study: Write, tmp_path: Path) -> None:
    small = {"models": {"MF": STUDY["models"]["MF"]}, "rows": {"uniform": STUDY["rows"]["uniform"]}, "seeds": 3}
    longer = small | {"fit": STUDY["fit"] | {"epochs": 3}}
    run_study(write_study(**small), tmp_path / "out")
    raised = Study.load(write_study(**longer), tmp_path / "out")
    assert not any(run.finished for run in raised.runs())
    assert results_of(raised).runs["epochs"].unique().to_list() == [3]
    run_study(write_study(**longer), tmp_path / "whole")
    assert_same(tmp_path / "whole", tmp_path / "out")


def test_a_part_leaves_the_tables_of_the_whole_alone(write_study: Write, folders: Path, tmp_path: Path) -> None:
    splits = {"store": str(folders / "split"), "again": str(folders / "split")}
    file, out = write_study(splits=splits, models={"MF": STUDY["models"]["MF"]}, seeds=3), tmp_path / "out"
    run_study(file, out)
    before = (out / "tables.md").read_text(encoding="utf-8")
    part = Study.load(file, out, only=["again"])
    assert all(run.finished for run in part.runs()), "the runs are the same"
    results = part.results()
    assert [table.split for table in results.tables] == ["again"]
    assert (out / "tables.md").read_text(encoding="utf-8") == before
    assert (out / "parts" / "again" / "tables.md").is_file()


def test_neighbours_are_shared_like_negatives(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = {"kind": "semantic-mixing", "sampler": {"kind": "dns", "candidates": 4}, "neighbours": 3}
    rows = {"DNS": STUDY["rows"]["DNS"]} | {
        name: {"sampler": inside, "negatives": name} for name in ("text", "co-occurrence", "random")
    }
    negatives = {name: {"method": "neighbours", "by": name, "k": 3} for name in ("text", "co-occurrence", "random")}
    small: dict[str, Any] = {"models": {"MF": STUDY["models"]["MF"]}, "baseline": "DNS"}
    file = write_study(rows=rows, negatives=negatives, seeds=3, **small)
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())
    monkeypatch.setattr(estimate, "SECONDS", 0.05)
    dry = CliRunner().invoke(app, ["study", "estimate", str(file), "--out", str(tmp_path / "out")])
    assert dry.exit_code == 0, dry.output
    results = run_study(file, tmp_path / "out")
    assert results.failed == {}
    assert results.runs["row"].unique(maintain_order=True).to_list() == list(rows)
    assert (tmp_path / "out" / "shared" / "store" / "negatives-co-occurrence" / "neighbours.npy").is_file()
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())


def test_neighbours_and_negatives_are_not_confused(write_study: Write) -> None:
    rows = {
        "uniform": STUDY["rows"]["uniform"],
        "one": {"sampler": {"kind": "semantic"}, "negatives": "near"},
        "two": {"sampler": {"kind": "semantic-mixing"}, "negatives": "retrieved"},
    }
    negatives = {
        "near": {"method": "neighbours"},
        "retrieved": {"method": "retrieved"},
        "noise": {"method": "random", "like": "near"},
    }
    with pytest.raises(ConfigError) as caught:
        Study.load(write_study(rows=rows, negatives=negatives))
    assert "rows.one: sampler 'semantic' uses no neighbours" in str(caught.value)
    assert "rows.two: sampler 'semantic-mixing' needs neighbours" in str(caught.value)
    assert "negatives.noise: like 'near' is neighbours" in str(caught.value)


def test_a_row_is_fused_with_text_without_being_trained_again(
    write_study: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {"uniform": STUDY["rows"]["uniform"], "DNS": STUDY["rows"]["DNS"] | {"fusion": {"weights": [0, 2]}}}
    file = write_study(rows=rows, models={"MF": STUDY["models"]["MF"]}, seeds=3)
    monkeypatch.setattr(text, "sentence_encoder", lambda *_, **__: LengthEncoder())
    monkeypatch.setattr(estimate, "SECONDS", 0.05)
    dry = CliRunner().invoke(app, ["study", "estimate", str(file), "--out", str(tmp_path / "out")])
    assert dry.exit_code == 0, dry.output
    assert "9 runs, 0 finished" in dry.output

    def broken(*_: object, **__: object) -> None:
        raise ConfigError("no encoder")

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "encode_texts_stage", broken)
        results = run_study(file, tmp_path / "out")
    assert len(results.failed) == 3
    assert "vectors 'minilm' could not be made: no encoder" in results.failed["store / MF / DNS + text, seed 0"]

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be trained again")

    monkeypatch.setattr("hardneg.pipeline.training.fit_backbone", forbidden)
    results = run_study(file, tmp_path / "out")
    assert results.failed == {}
    assert results.runs["line"].unique(maintain_order=True).to_list() == ["uniform", "DNS", "DNS + text"]
    done = results.runs.filter(pl.col("line").is_in(["DNS", "DNS + text"]), metric="recall", k=20)
    values = {line: frame["valid_value"].to_list() for (line,), frame in done.group_by("line")}
    assert all(fused >= plain for fused, plain in zip(values["DNS + text"], values["DNS"], strict=True))
    assert "DNS + text" in (tmp_path / "out" / "tables.md").read_text(encoding="utf-8")
    assert all(run.finished for run in Study.load(file, tmp_path / "out").runs())


def test_a_control_may_have_fewer_seeds(write_study: Write, tmp_path: Path) -> None:
    rows = {"uniform": {"sampler": {"kind": "uniform"}}, "control": {"sampler": {"kind": "uniform"}, "seeds": 3}}
    study = Study.load(write_study(rows=rows, models={"MF": STUDY["models"]["MF"]}), tmp_path / "out")
    assert [(run.cell.row, run.task.seed) for run in study.runs() if run.cell.row == "control"] == [
        ("control", seed) for seed in range(3)
    ]
    results = results_of(study)
    assert results.tables[0].remarks == []
    assert results.tables[0].frame is not None
    assert results.tables[0].frame["row"].to_list() == ["uniform", "control"]


def test_popularity_is_a_line_that_trains_nothing(write_study: Write, tmp_path: Path) -> None:
    fused = {"uniform": {"sampler": {"kind": "uniform"}}, "DNS": {"sampler": {"kind": "dns", "candidates": 4}}}
    study = Study.load(write_study(popularity=True, rows=fused, seeds=3), tmp_path / "out")
    results = results_of(study)
    assert results.failed == {}
    for table in results.tables:
        assert table.frame["row"].to_list() == ["uniform", "DNS", "popularity"]
        line = table.frame.row(2, named=True)
        assert line["ndcg@20 sd"] == pytest.approx(0, abs=1e-15)
        assert line["p_holm"] is not None
    popular = results.runs.filter(pl.col("line") == "popularity", pl.col("metric") == "ndcg", pl.col("k") == 20)
    assert len(popular) == 6
    assert popular["value"].n_unique() == 1
    assert study.estimate().total == study.estimate().finished == 18
