"""`hardneg export`: what it says, from a run to a bundle and from negatives to triplets."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from tests.cli.test_commands import refuse, run, succeed, values_of


@pytest.fixture(scope="module")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export") / "run"
    succeed("train", folders / "split", "--model", "mf", "--epochs", 1, "--out", folder)
    return folder


def test_a_bundle_recommends_and_says_what_reads_it(trained: Path, folders: Path, tmp_path: Path) -> None:
    output = succeed("export", trained, "--to", "bundle", "--out", tmp_path / "bundle")
    assert "known pairs" in output
    assert "Read with: hardneg.load_bundle" in output
    user = pl.read_parquet(folders / "split" / "users.parquet")["user_id"][0]
    values = [run("recommend", folder, "--user", user, "--json").stdout for folder in (trained, tmp_path / "bundle")]
    assert values[0] == values[1]
    output = succeed("recommend", tmp_path / "bundle", "--user", user)
    assert f"Next: hardneg recommend {tmp_path / 'bundle'} --all" in output
    assert "mask train" in refuse("recommend", tmp_path / "bundle", "--user", user, "--mask", "train")


def test_every_source_names_what_comes_next(trained: Path, folders: Path, tmp_path: Path) -> None:
    split, negatives = folders / "split", tmp_path / "negatives"
    assert "data describe" in succeed("export", split, "--to", "recbole", "--out", tmp_path / "recbole")
    assert "recommend" in succeed("export", trained, "--to", "npy", "--out", tmp_path / "npy")
    succeed("profiles", "write", split, "--out", tmp_path / "profiles")
    succeed("negatives", "retrieve", split, "--profiles", tmp_path / "profiles", "--out", negatives)
    words = ("export", negatives, "--to", "sentence-transformers", "--out", tmp_path / "triplets")
    assert "--split" in refuse(*words)
    output = succeed(*words, "--split", split)
    assert f"data_files='{tmp_path / 'triplets'}/triplets.parquet'" in output
    assert "anchors: titles of 10 other train items at most" in output
    assert "--sampler semantic --negatives" in output
    values = values_of(*words, "--split", split)
    assert values["triplets"] == len(pl.read_parquet(tmp_path / "triplets" / "triplets.parquet"))
    assert "expected --to parquet or npy or safetensors or sentence-transformers" in refuse(
        "export", negatives, "--to", "bundle", "--out", tmp_path / "x"
    )
