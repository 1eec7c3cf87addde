"""`hardneg mine --method dual-tree`: which options go together, and one run from a split to suspects."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, succeed

MINE = ("mine", "nowhere", "--method", "dual-tree")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--judge rule expects --run"),
        (["--run", "x"], "--judge rule expects --trees"),
        (["--judge", "llm", "--run", "x", "--trees", "y"], "--judge llm expects --llm"),
        (["--judge", "recorded"], "--judge recorded expects --labels"),
        (["--judge", "titles", "--trees", "y"], "--trees is no option of --judge titles"),
        (["--judge", "all", "--run", "x", "--set", "judge.rate=1"], "judge.all.rate: Extra inputs are not permitted"),
        (["--profiles", "p"], "--profiles is no option of --method dual-tree"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str], said: str) -> None:
    assert said in refuse(*MINE, *words)


def test_judges_are_options_of_dual_tree_alone() -> None:
    assert "--judge is no option of --method retrieved" in refuse("mine", "nowhere", "--judge", "all")


def test_from_a_split_to_suspects(folders: Path, tmp_path: Path) -> None:
    split, run = folders / "split", tmp_path / "run"
    fit = ["--fit-set", "epochs=2", "--fit-set", "check_every=2", "--model-set", "embedding_size=8"]
    succeed("train", split, "--model", "mf", *fit, "--out", run)
    succeed(
        "trees",
        split,
        "--run",
        run,
        "--set",
        "embedding_size=4",
        "--set",
        "tree.leaf_items=8",
        "--out",
        tmp_path / "trees",
    )
    mine = ["mine", split, "--method", "dual-tree", "--run", run, "--set", "candidates=4"]
    assert "0 without a label (rule" in succeed(*mine, "--trees", tmp_path / "trees", "--out", tmp_path / "rule")
    said = json.loads((tmp_path / "rule" / "manifest.json").read_text())["notes"]
    assert said["candidates"] == 4 * said["users"] == 4 * said["train users"]
    assert said["judge"].startswith("rule")
    like = succeed(*mine, "--judge", "random", "--like", tmp_path / "rule", "--out", tmp_path / "random")
    assert f"{4 * said['users']:,} candidates" in like
    rate = json.loads((tmp_path / "random" / "manifest.json").read_text())["config"]["judge"]["rate"]
    assert rate == said["at least 0.5"] / said["candidates"]
    table = pl.read_parquet(tmp_path / "rule" / "suspects.parquet")
    table.with_columns(label="probability").write_csv(tmp_path / "labels.csv")
    again = ["mine", split, "--method", "dual-tree", "--judge", "recorded", "--labels", tmp_path / "labels.csv"]
    assert "0 without a label (recorded)" in succeed(*again, "--out", tmp_path / "recorded")
    recorded = pl.read_parquet(tmp_path / "recorded" / "suspects.parquet")
    assert recorded.drop("judge").equals(table.drop("judge"))
