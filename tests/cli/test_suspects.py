"""`hardneg mine --method dual-tree`: which options go together, and one run from a split to suspects."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, succeed

from hardneg.data import split as splits

MINE = ("mine", "nowhere", "--method", "dual-tree")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--judge rule expects --run"),
        (["--run", "x"], "--judge rule expects --trees"),
        (["--judge", "llm", "--run", "x", "--trees", "y"], "--judge llm expects --llm"),
        (["--judge", "recorded"], "--judge recorded expects --labels"),
        (["--run", "x", "--trees", "y", "--dry-run"], "--dry-run is no option of --judge rule"),
        (["--judge", "titles", "--trees", "y"], "--trees is no option of --judge titles"),
        (["--judge", "all", "--run", "x", "--set", "judge.rate=1"], "judge.rate: unknown, expected one of kind"),
        (["--profiles", "p"], "--profiles is no option of --method dual-tree"),
        (["--judge", "random", "--run", "x", "--seed", "5"], "--seed is no option of --method dual-tree"),
        (["--judge", "all", "--run", "x", "--engine", "budget_money=5"], "--engine is no option of --judge all"),
        (["--judge", "all", "--run", "x", "--set", "codes=shuffled"], "found --set codes, which is of trees"),
        (["--judge", "recorded", "--labels", "x", "--set", "candidates=5"], "found --set candidates, but no --run"),
        (["--run", "x", "--trees", "y", "--set", "judge.kind=all"], "found --set judge.kind"),
        (["--judge", "random", "--run", "x", "--set", "like_threshold=0.7"], "like_threshold without --like"),
        (
            ["--judge", "random", "--run", "x", "--like", "y", "--set", "like_threshold=half"],
            "like_threshold: value: Input should be a valid number",
        ),
        (
            ["--judge", "random", "--run", "x", "--like", "y", "--set", "judge.rate=0.1"],
            "judge.rate, which --like says",
        ),
        (["--judge", "recorded", "--labels", "x", "--set", "judge.labels=y"], "judge.labels, which --labels says"),
        (["--judge", "random", "--run", "x", "--set", "seed=5"], "for that of the judge say --set judge.seed"),
        (["--judge", "all", "--run", "x", "--set", "judge=rule"], "found --set judge=rule, expected --judge rule"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str], said: str) -> None:
    assert said in refuse(*MINE, *words)


def test_judges_are_options_of_dual_tree_alone() -> None:
    assert "--judge is no option of --method retrieved" in refuse("mine", "nowhere", "--judge", "all")


def test_a_dry_run_says_what_judging_will_take_and_makes_nothing(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "never-sent")
    split, run = folders / "split", tmp_path / "run"
    succeed("train", split, "--model", "mf", "--fit-set", "epochs=1", "--fit-set", "check_every=1", "--out", run)
    (tmp_path / "prices.yaml").write_text("models: {far-away: {prompt: 1000000, answer: 0}}\n", encoding="utf-8")
    words = ["mine", split, "--method", "dual-tree", "--run", run, "--judge", "titles", "--set", "candidates=4"]
    words += ["--llm", "openai:far-away", "--store", tmp_path / "replies.sqlite", "--out", tmp_path / "suspects"]
    said = succeed(*words, "--dry-run")
    assert "price unknown" in said
    assert "Nothing was asked." in said
    known = succeed(*words, "--prices", tmp_path / "prices.yaml", "--dry-run", "--json")
    total = json.loads(known[known.index("{") :])
    assert total["calls"] == (splits.read_split(split).train.counts > 0).sum()
    assert total["money"] == pytest.approx(total["prompt_tokens"])
    assert not (tmp_path / "suspects").exists()
    assert not (tmp_path / "replies.sqlite").exists()


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
    others = ["--judge", "random", "--like", tmp_path / "recorded", "--out", tmp_path / "others"]
    said = succeed(*mine[:-1], "candidates=5", *others)
    assert "the candidates are others than those of recorded" in said


def test_what_a_file_of_labels_has_that_cannot_be_used_is_said(folders: Path, tmp_path: Path) -> None:
    split = folders / "split"
    succeed(
        "train",
        split,
        "--model",
        "mf",
        "--fit-set",
        "epochs=1",
        "--fit-set",
        "check_every=1",
        "--out",
        tmp_path / "run",
    )
    mine = ["mine", split, "--method", "dual-tree", "--run", tmp_path / "run"]
    succeed(*mine, "--judge", "all", "--set", "candidates=6", "--out", tmp_path / "all")
    table = (
        pl.read_parquet(tmp_path / "all" / "suspects.parquet")
        .with_columns(label=1.0)
        .select("user_id", "item_id", "label")
    )
    strange = pl.DataFrame({"user_id": ["nobody", None], "item_id": ["nothing", "lonely"], "label": [1.0, 1.0]})
    pl.concat([table, strange]).write_csv(tmp_path / "labels.csv")
    judged = ["--judge", "recorded", "--labels", tmp_path / "labels.csv", "--set", "candidates=4"]
    said = succeed(*mine, *judged, "--out", tmp_path / "recorded")
    assert f"{len(table) // 3:,} pairs of the file are no candidates" in said
    assert "1 row of the file with a pair that the split does not know (first: user nobody item nothing)" in said
    assert "1 row of the file without a user or an item (first: user None item lonely); left out; see" in said
    assert ("nobody", "nothing") in pl.read_parquet(tmp_path / "recorded" / "rejected.parquet").select(
        "user_id", "item_id"
    ).rows()
