"""`hardneg compare`: what it prints and writes, and its one-line errors."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, succeed, values_of

FIT = ["--model", "mf", "--epochs", 2, "--set", "model.embedding_size=8", "--set", "fit.learning_rate=0.03"]


@pytest.fixture(scope="module")
def runs(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of uniform and one of DNS."""
    root = tmp_path_factory.mktemp("runs")
    for sampler, seed in (("uniform", 0), ("uniform", 1), ("dns", 0)):
        run = root / f"{sampler}-seed{seed}"
        succeed("train", folders / "split", "--sampler", sampler, *FIT, "--seed", seed, "--out", run)
        succeed("evaluate", run, "--split", folders / "split", "-k", 10, "-k", 20)
    return root


def test_a_comparison_is_printed_and_written(folders: Path, runs: Path, tmp_path: Path) -> None:
    words = [
        "compare",
        runs / "uniform-seed0",
        runs / "uniform-seed1",
        runs / "dns-seed0",
        "--split",
        folders / "split",
    ]
    output = succeed(*words, "--out", tmp_path / "new" / "compared.parquet")
    for text in (
        "nDCG@20 against uniform: ",
        "vs uniform [95 %]",
        "users alone",
        "uniform: 2 runs, seeds 0, 1.",
        "by history of the user",
        "p (Holm)",
    ):
        assert text in output
    assert f"Written: {tmp_path / 'new' / 'compared.parquet'}" in output
    assert f"Next: hardneg train {folders / 'split'} --config {runs / 'uniform-seed0'} --seed 2" in output
    values = values_of(*words)
    frame = pl.read_parquet(tmp_path / "new" / "compared.parquet")
    assert values["rows"] == frame.to_dicts()
    assert values["methods"]["dns"] == [str(runs / "dns-seed0")]  # type: ignore[index]
    assert frame["grouping"].n_unique() == 3
    succeed(*words, "--no-groups", "--out", tmp_path / "new" / "compared.parquet")
    assert pl.read_parquet(tmp_path / "new" / "compared.parquet")["grouping"].n_unique() == 1


def test_metric_and_baseline_are_chosen(folders: Path, runs: Path) -> None:
    words = [
        "compare",
        runs / "uniform-seed0",
        runs / "dns-seed0",
        "--split",
        folders / "split",
        "--metric",
        "recall@10",
    ]
    values = values_of(*words, "--baseline", runs / "dns-seed0")
    assert values["baseline"] == "dns"
    assert {row["metric"] for row in values["rows"]} == {"recall@10"}  # type: ignore[attr-defined]


def test_errors_are_one_line(folders: Path, runs: Path, tmp_path: Path) -> None:
    words = ["compare", runs / "uniform-seed0", runs / "dns-seed0", "--split", folders / "split"]
    assert "-k 50" in refuse(*words, "--metric", "ndcg@50")
    assert "ends in .parquet" in refuse(*words, "--out", tmp_path / "compared.csv")
    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "mine.parquet")
    assert "holds something else" in refuse(*words, "--out", tmp_path / "mine.parquet")
    assert "expected a run folder" in refuse("compare", folders / "split", *words[2:])
    assert "expected two at least" in refuse("compare", *words[1:2], "--split", folders / "split")
