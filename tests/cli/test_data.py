"""Shares, ties and counts that `data split` and `data describe` print, from a table to a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from hardneg.artifacts import read_manifest
from hardneg.cli.main import app


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def succeed(*words: object) -> str:
    result = run(*words)
    assert result.exit_code == 0, result.output
    return result.output


def import_table(folder: Path, rows: list[tuple[object, ...]], header: str = "user_id,item_id,timestamp") -> Path:
    lines = [header, *(",".join(map(str, row)) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    succeed("data", "import", "table", folder / "table.csv", "--out", folder / "data")
    return folder / "data"


def draw_rows(n_users: int, n_items: int, n: int, *, time: int | None = None) -> list[tuple[object, ...]]:
    """n random items of each user, at one time or at as many."""
    rng = np.random.default_rng(8)
    return [
        (f"u{u:03}", f"i{i}", 1_500_000_000 + u * n + place if time is None else time)
        for u in range(n_users)
        for place, i in enumerate(rng.choice(n_items, n, replace=False))
    ]


def test_shares_requested_and_obtained_are_printed_and_kept(tmp_path: Path) -> None:
    data, split = import_table(tmp_path, draw_rows(120, 30, 4)), tmp_path / "split"
    output = succeed("data", "split", data, "--out", split)
    assert "384 train, 48 valid, 48 test, 120 users" in output
    assert "requested 80/10/10 %, obtained 80/10/10 %" in output
    assert read_manifest(split, "split")["notes"]["shares"]["obtained"] == {"train": 0.8, "valid": 0.1, "test": 0.1}
    values = json.loads(succeed("data", "split", data, "--out", split, "--json"))
    assert values["shares"]["requested"] == {"train": 0.8, "valid": 0.1, "test": 0.1}
    assert values["remarks"] == ["requested 80/10/10 %, obtained 80/10/10 %"]
    succeed("train", split, "--model", "mf", "--epochs", 1, "--out", tmp_path / "run")


def test_a_command_that_lacks_held_out_pairs_names_the_true_reason(tmp_path: Path) -> None:
    data = import_table(tmp_path, draw_rows(40, 10, 2))
    assert "40 of 40 users have fewer than 3 pairs" in succeed(
        "data", "split", data, "--by", "leave-one-out", "--out", tmp_path / "last"
    )
    refused = run("train", tmp_path / "last", "--out", tmp_path / "run")
    assert refused.exit_code == 2
    assert "no validation pairs" in refused.output
    assert "40 of 40 users have fewer than 3 pairs" in refused.output
    assert "share above 0" not in refused.output
    succeed("data", "split", data, "--train", 0.8, "--valid", 0.2, "--test", 0, "--out", tmp_path / "valid")
    succeed("train", tmp_path / "valid", "--model", "mf", "--epochs", 1, "--out", tmp_path / "run")
    refused = run("evaluate", tmp_path / "run", "--split", tmp_path / "valid")
    assert refused.exit_code == 2
    assert "no test pairs" in refused.output
    assert "test share above 0" in refused.output
    succeed("data", "add-noise", tmp_path / "last", "--out", tmp_path / "noisy")
    refused = run("train", tmp_path / "noisy", "--out", tmp_path / "other")
    assert "fewer than 3 pairs" in refused.output


def test_users_with_tied_held_out_pairs_are_counted(tmp_path: Path) -> None:
    data = import_table(tmp_path, draw_rows(60, 40, 8, time=1_526_947_200))
    output = succeed("data", "split", data, "--by", "leave-one-out", "--out", tmp_path / "split")
    assert "360 train, 60 valid, 60 test" in output
    assert "60 of 60 users have several pairs at the time of a held-out one" in output
    assert "60 of 60 users" in " ".join(read_manifest(tmp_path / "split", "split")["notes"]["remarks"])


@pytest.mark.parametrize("by", ["time", "leave-one-out"])
def test_rows_without_a_time_are_left_out_and_counted(by: str, tmp_path: Path) -> None:
    rows = [(user, item, "" if n % 50 == 7 else time) for n, (user, item, time) in enumerate(draw_rows(60, 40, 8))]
    data = import_table(tmp_path, rows)
    output = succeed("data", "split", data, "--by", by, "--out", tmp_path / "split")
    assert "10 rows without a timestamp (first: user 'u000'" in output


def describe(*folders: Path) -> list[dict[str, object]]:
    described: list[dict[str, object]] = json.loads(succeed("data", "describe", *folders, "--json"))
    return described


def test_describe_counts_users_with_every_item_and_repeated_pairs(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    sizes = [5] * 20 + [1 + n % 4 for n in range(40)]
    rows = [(f"u{u}", f"i{i}", u) for u, n in enumerate(sizes) for i in rng.choice(5, n, replace=False)]
    data = import_table(tmp_path, [*rows, *rows[:3]])
    succeed("data", "split", data, "--out", tmp_path / "split")
    whole, split = describe(data, tmp_path / "split")
    assert (whole["users"], whole["items"], whole["pairs"], whole["repeated"]) == (60, 5, 200, 3)
    notes = read_manifest(tmp_path / "split", "split")["notes"]
    assert split["pairs"] == sum(int(notes[f"{part} pairs"]) for part in ("train", "valid", "test"))


@pytest.mark.parametrize("rows", [[("a", "1"), ("a", "2")], [("a", "1"), ("b", "1")], [("a", "1")]])
def test_describe_accepts_one_user_or_one_item(rows: list[tuple[object, ...]], tmp_path: Path) -> None:
    (row,) = describe(import_table(tmp_path, rows, "user_id,item_id"))
    assert row["pairs"] == len(rows)
    assert row["density"] == 1
