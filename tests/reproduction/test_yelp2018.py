"""The command that compares LightGCN on Yelp2018 with the published values, on a few pairs in the same format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yelp2018

from hardneg import artifacts
from hardneg.data import split as splits


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 users with 10 of 40 items each, and 4 others as test items."""
    rng = np.random.default_rng(0)
    chosen = np.array([rng.permutation(40)[:14] for _ in range(30)])
    for part, items in (("train", chosen[:, :10]), ("test", chosen[:, 10:])):
        lines = (" ".join(map(str, [user, *row])) for user, row in enumerate(items))
        (tmp_path / f"{part}.txt.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    return tmp_path


def run(folder: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["yelp2018.py", str(folder), "--out", str(out), "--epochs", "6", "--check-every", "2"]
    monkeypatch.setattr("sys.argv", arguments)
    yelp2018.main()


def test_all_of_train_is_trained_on_for_the_epochs_of_the_carved_part(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(folder, out, monkeypatch)
    notes = {name: artifacts.read_manifest(out / name, "run")["notes"] for name in ("run-carved", "run-all")}
    assert notes["run-all"]["epochs"] == notes["run-carved"]["best epoch"]
    whole = splits.read_split(out / "split-all")
    assert len(whole.train) == 300
    assert not len(whole.valid)
    assert len(splits.read_split(out / "split-carved").train) == 270
    per_user = pl.read_parquet(out / "run-all/evaluation/per_user.parquet")
    table = (out / "yelp2018.md").read_text()
    assert f"| recall@20 | {per_user['recall@20'].mean():.4f} | 0.0649 |" in table


def test_a_second_call_trains_and_evaluates_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run(folder, out, monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
    run(folder, out, monkeypatch)
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*.safetensors")}
