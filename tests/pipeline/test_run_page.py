"""The page of a run: its metrics, groups and warnings, with and without its split."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.cli.test_commands import run as call
from tests.cli.test_commands import succeed, values_of
from tests.report.page_checks import check_page

from hardneg import artifacts, pipeline
from hardneg.data.dataset import read_parquet
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.pipeline.run_page import write_run_page
from hardneg.training import FitConfig


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run-page")
    shutil.copytree(folders / "split", root / "split")
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=1))
    return pipeline.train_stage(root / "split", config).run(root / "run")


def test_a_run_without_an_evaluation_is_rejected_with_the_command(run: Path) -> None:
    message = " ".join(call("report", run).output.split())
    assert f"hardneg evaluate {run} --split {run.parent / 'split'}" in message


def test_a_page_shows_metrics_groups_and_users(run: Path) -> None:
    pipeline.evaluate_run(run, run.parent / "split")
    printed = values_of("report", run)
    path = run.with_name("run.html")
    assert printed == {"page": str(path), "bytes": path.stat().st_size}
    assert artifacts.compare_with_manifest(run).additional == []
    html = path.read_text(encoding="utf-8")
    text = " ".join(" ".join(check_page(html, scripts=2).texts).split())
    for value in read_parquet(run / "evaluation" / "metrics.parquet")["value"]:
        assert f"{value:.4f}" in text
    for words in ("the most popular items reach", "By popularity of the item", "By history of the user"):
        assert words in text
    assert "Learning curves by second" in text
    assert path.stat().st_size < 200_000


def test_without_its_split_a_page_says_what_is_left_out(run: Path, tmp_path: Path) -> None:
    pipeline.evaluate_run(run, run.parent / "split")
    moved = tmp_path / "split"
    shutil.move(run.parent / "split", moved)
    text = " ".join(check_page(write_run_page(run).read_text(encoding="utf-8")).texts)
    assert "is not there; give its folder with --split" in text
    succeed("report", run, "--split", moved, "--out", tmp_path / "page.html")
    check_page((tmp_path / "page.html").read_text(encoding="utf-8"), scripts=2)
    assert "leave --split out" in call("report", moved, "--split", moved).output
    shutil.move(moved, run.parent / "split")
