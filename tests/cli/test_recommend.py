"""`hardneg recommend` into a file: what it says, and which options go together."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, run, succeed, values_of

from hardneg.cli.output import ProgressDisplay


@pytest.fixture(scope="module")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommend") / "run"
    succeed("train", folders / "split", "--model", "mf", "--epochs", 1, "--out", folder)
    return folder


def test_all_users_go_to_a_file(trained: Path, folders: Path, tmp_path: Path) -> None:
    n_users = len(pl.read_parquet(folders / "split" / "users.parquet"))
    for name, read in {"recs.parquet": pl.read_parquet, "recs.csv": pl.read_csv}.items():
        output = succeed("recommend", trained, "--all", "-k", 3, "--out", tmp_path / name)
        table = read(tmp_path / name)
        assert table.columns == ["user_id", "rank", "item_id", "title", "score"]
        assert table["user_id"].n_unique() == n_users
        assert f"{tmp_path / name}: {len(table):,} recommendations for {n_users:,} users" in output
        assert "held-out ones included" in output
    values = values_of("recommend", trained, "--all", "-k", 1000, "--out", tmp_path / "recs.csv")
    assert values["short"] == values["users"] == n_users


def test_options_that_do_not_go_together(trained: Path, tmp_path: Path) -> None:
    assert "no --out" in refuse("recommend", trained, "--all")
    assert "--user or --users" in refuse("recommend", trained, "--all", "--user", "u1", "--out", tmp_path / "a.csv")
    assert "--all" in refuse("recommend", trained)
    (tmp_path / "a.csv").write_text("mine")
    assert "something else" in refuse("recommend", trained, "--all", "--out", tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == "mine"
    output = run("recommend", trained, "--user", "u1", "--user", "none", "--out", tmp_path / "b.csv").output
    assert "'none'; left out" in output
    assert "for 1 users" in output


def test_progress_without_a_terminal_states_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, *(second for second in (100.0, 200.0, 300.0) for _ in range(3))])
    monkeypatch.setattr("hardneg.cli.output.time.monotonic", lambda: next(clock))
    show = ProgressDisplay()
    show("users", 100, 1000)
    show("users", 200, 1000)
    assert capsys.readouterr().err.splitlines() == ["users: 100/1,000", "users: 200/1,000, 13 min left"]
