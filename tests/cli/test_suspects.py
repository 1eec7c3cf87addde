"""`hardneg suspects identify` and `hardneg llm estimate judging`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, succeed, values_of

from hardneg.data import split as splits

IDENTIFY = ("suspects", "identify")
FIT = ("--set", "fit.epochs=2", "--set", "fit.check_every=2", "--set", "model.embedding_size=8")


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    succeed("train", folders / "split", "--model", "mf", *FIT, "--out", folder)
    return folder


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ([], ["--trees", "rule"]),
        (["--trees", "y"], ["--run", "rule"]),
        (["--judge", "magic"], ["'magic'", "rule"]),
        (["--judge", "llm", "--run", "x", "--trees", "y"], ["--llm", "llm"]),
        (["--judge", "recorded"], ["labels"]),
        (["--run", "x", "--trees", "y", "--llm", "hf:x"], ["--llm", "rule"]),
        (["--judge", "titles", "--trees", "y", "--llm", "hf:x"], ["--trees", "titles"]),
        (["--judge", "all", "--run", "x", "--set", "rate=1"], ["rate", "all"]),
        (["--judge", "all", "--run", "x", "--codes", "shuffled"], ["--codes", "--trees"]),
        (["--run", "x", "--trees", "y", "--codes-seed", "5"], ["--codes-seed"]),
        (["--judge", "recorded", "--set", "labels=x", "--candidates", "5"], ["--candidates", "--run"]),
        (["--judge", "random", "--run", "x", "--set", "like_threshold=0.7"], ["like_threshold"]),
        (["--judge", "random", "--run", "x", "--set", "like=y", "--set", "rate=0.1"], ["rate", "like"]),
        (["--judge", "random", "--run", "x", "--set", "like=y", "--set", "like_threshold=half"], ["like_threshold"]),
    ],
)
def test_options_that_do_not_go_together_are_refused(words: list[str], parts: list[str]) -> None:
    message = refuse(*IDENTIFY, "nowhere", *words)
    assert all(part in message for part in parts), message


def test_a_judge_that_calls_most_candidates_liked_is_named(folders: Path, run: Path, tmp_path: Path) -> None:
    words = [*IDENTIFY, folders / "split", "--run", run, "--judge", "random", "--candidates", 4]
    assert "WARNING" not in succeed(*words, "--set", "rate=0.3", "--out", tmp_path / "few")
    said = succeed(*words, "--set", "rate=0.8", "--out", tmp_path / "most")
    assert re.search(r"WARNING: the judge calls [78]\d\.\d% of \d+ candidates liked", said)


def test_an_estimate_of_judging_sends_nothing_and_writes_nothing(
    folders: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "never-sent")
    monkeypatch.chdir(tmp_path)
    split = folders / "split"
    (tmp_path / "prices.yaml").write_text("models: {far-away: {prompt: 1000000, answer: 0}}\n", encoding="utf-8")
    words = ["llm", "estimate", "judging", split, "--run", run, "--judge", "titles", "--candidates", 4]
    words += ["--llm", "openai:far-away", "--store", tmp_path / "replies.sqlite"]
    assert "price unknown" in succeed(*words)
    total = values_of(*words, "--prices", tmp_path / "prices.yaml")
    assert total["calls"] == (splits.read_split(split).train.counts > 0).sum()
    assert total["money"] == pytest.approx(total["prompt_tokens"])
    assert [path.name for path in tmp_path.iterdir()] == ["prices.yaml"]
    assert "rule" in refuse("llm", "estimate", "judging", split, "--run", run, "--judge", "rule", "--llm", "hf:x")


def test_from_a_split_to_suspects(folders: Path, run: Path, tmp_path: Path) -> None:
    split = folders / "split"
    settings = ("--set", "embedding_size=4", "--set", "tree.leaf_items=8")
    succeed("trees", "build", split, "--run", run, *settings, "--out", tmp_path / "trees")
    identify = [*IDENTIFY, split, "--run", run]
    rule = ["--trees", tmp_path / "trees", "--candidates", 4, "--set", "by=levels", "--out", tmp_path / "rule"]
    assert "0 without a label (rule" in succeed(*identify, *rule)
    notes = json.loads((tmp_path / "rule" / "manifest.json").read_text())["notes"]
    assert notes["candidates"] == 4 * notes["users"] == 4 * notes["train users"]
    assert notes["judge"].startswith("rule")
    like = ["--judge", "random", "--candidates", 4, "--set", f"like={tmp_path / 'rule'}"]
    assert f"{4 * notes['users']:,} candidates" in succeed(*identify, *like, "--out", tmp_path / "random")
    rate = json.loads((tmp_path / "random" / "manifest.json").read_text())["config"]["judge"]["rate"]
    assert rate == notes["at least 0.5"] / notes["candidates"]
    table = pl.read_parquet(tmp_path / "rule" / "suspects.parquet")
    table.with_columns(label="probability").write_csv(tmp_path / "labels.csv")
    recorded = [*IDENTIFY, split, "--judge", "recorded", "--set", f"labels={tmp_path / 'labels.csv'}"]
    assert "0 without a label (recorded)" in succeed(*recorded, "--out", tmp_path / "recorded")
    copied = pl.read_parquet(tmp_path / "recorded" / "suspects.parquet")
    assert copied.drop("judge").equals(table.drop("judge"))
    others = ["--judge", "random", "--candidates", 5, "--set", f"like={tmp_path / 'recorded'}"]
    assert "like" in values_of(*identify, *others, "--out", tmp_path / "others")
    assert "checks passed" in succeed("audit", "suspects", tmp_path / "rule", "--split", split)


def test_unusable_labels_of_a_file_are_counted_and_named(folders: Path, run: Path, tmp_path: Path) -> None:
    identify = [*IDENTIFY, folders / "split", "--run", run]
    succeed(*identify, "--judge", "all", "--candidates", 6, "--out", tmp_path / "all")
    table = (
        pl.read_parquet(tmp_path / "all" / "suspects.parquet")
        .with_columns(label=1.0)
        .select("user_id", "item_id", "label")
    )
    strange = pl.DataFrame({"user_id": ["nobody", None], "item_id": ["nothing", "lonely"], "label": [1.0, 1.0]})
    pl.concat([table, strange]).write_csv(tmp_path / "labels.csv")
    judged = ["--judge", "recorded", "--set", f"labels={tmp_path / 'labels.csv'}", "--candidates", 4]
    output = succeed(*identify, *judged, "--out", tmp_path / "recorded")
    assert f"{len(table) // 3:,} pairs of the file" in output
    assert "user nobody item nothing" in output
    assert "user None item lonely" in output
    rejected = pl.read_parquet(tmp_path / "recorded" / "rejected.parquet")
    assert ("nobody", "nothing") in rejected.select("user_id", "item_id").rows()


def test_a_judge_is_evaluated_on_hidden_items(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    succeed(
        "data", "add-noise", folders / "split", "--false-positives", 0, "--hidden", 0.1, "--out", tmp_path / "noisy"
    )
    words = ["suspects", "evaluate", tmp_path / "noisy", "--users", 10]
    text = succeed(*words, "--judge", "all", "--truth", folders / "dataset", "--out", tmp_path / "judged.parquet")
    assert "hidden and random items" in text
    assert "kappa 0.000" in text
    assert len(pl.read_parquet(tmp_path / "judged.parquet")) == 10 * 11
    monkeypatch.setenv("OPENAI_API_KEY", "never-sent")
    found = values_of(*words, "--judge", "titles", "--llm", "openai:far-away", "--dry-run")
    assert found["calls"] == 10
    assert "--trees" in refuse(*words)
