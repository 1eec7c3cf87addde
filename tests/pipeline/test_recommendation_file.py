"""Recommendations of all users in a file: equal to those printed one by one, whole or absent, and safe to open."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg import pipeline
from hardneg.data import Dataset, SplitConfig
from hardneg.data import split as splits
from hardneg.data.dataset import KIND, write_dataset
from hardneg.errors import ConfigError, DataError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.stage import Stage
from hardneg.training import FitConfig

TITLES = ["=1+1", "@x", "two\nlines", 'a,"b"', "\x1b[2Jred", "<script>alert(1)</script>", "-5", "", "kettle", "Käse"]
SAFE = ["'=1+1", "'@x", r"two\nlines", 'a,"b"', r"\x1b[2Jred", "<script>alert(1)</script>", "-5", "", "kettle", "Käse"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ids with leading zeros and a formula; u00 has all but one item."""
    root, rng = tmp_path_factory.mktemp("file"), np.random.default_rng(0)
    pairs = [
        (f"u{user:02}", f"{'=' * (item == 0)}00{item}")
        for user in range(30)
        for item in rng.choice(10, 9 if user == 0 else 5, replace=False).tolist()
    ]
    items = [(f"{'=' * (item == 0)}00{item}", title) for item, title in enumerate(TITLES)]
    dataset = Dataset(
        pl.DataFrame(pairs, schema=["user_id", "item_id"], orient="row"),
        pl.DataFrame(items, schema=["item_id", "title"], orient="row"),
    )
    Stage(KIND, {}, {}, lambda draft: write_dataset(draft, dataset)).run(root / "data")
    pipeline.split_stage(root / "data", SplitConfig(train=0.6, valid=0.2, test=0.2)).run(root / "split")
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=1, check_every=1))
    pipeline.train_stage(root / "split", config).run(root / "run")
    return root


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several blocks and several chunks for few users."""
    monkeypatch.setattr("hardneg.pipeline.recommendation_file.USERS_AT_ONCE", 7)
    monkeypatch.setattr("hardneg.data.importing.ROWS_PER_CHUNK", 11)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("mask", ["known", "train"])
def test_a_file_has_what_is_printed_user_by_user(root: Path, tmp_path: Path, mask: pipeline.Mask) -> None:
    reports = list[tuple[str, int, int]]()
    out = tmp_path / "new" / "recs.parquet"
    counts = pipeline.write_recommendations(
        root / "run", out, 3, mask=mask, progress=lambda *report: reports.append(report)
    )
    users = splits.read_split(root / "split").vocabulary.user_ids
    single = [pipeline.make_recommendations(root / "run", [user], 3, mask) for user in users]
    written = pl.read_parquet(out)
    expected = pl.concat([part.table for part in single])
    assert written.drop("score").equals(expected.drop("score"))
    np.testing.assert_allclose(written["score"].to_numpy(), expected["score"].to_numpy(), rtol=1e-4, atol=1e-6)
    assert counts.users == len(users) == 30
    assert counts.rows == len(written)
    assert counts.masked == sum(part.masked for part in single)
    assert counts.other_ids == sum(part.other_ids for part in single)
    assert counts.short == sum(len(part.table) < 3 for part in single) == (1 if mask == "known" else 0)
    assert reports == [("users", done, 30) for done in (7, 14, 21, 28, 30)]
    assert [path.name for path in out.parent.iterdir()] == ["recs.parquet"]


@pytest.mark.usefixtures("blocks")
def test_titles_and_ids_of_both_endings(root: Path, tmp_path: Path) -> None:
    """Parquet is exact. In a CSV file a title is one line that no spreadsheet computes; ids are never changed."""
    exact = pipeline.write_recommendations(root / "run", tmp_path / "a.parquet", 10)
    assert (exact.titles_changed, exact.risky_ids) == (0, 0)
    table = pl.read_parquet(tmp_path / "a.parquet")
    titles = dict(table.select("item_id", "title").rows())
    assert titles == {f"{'=' * (item == 0)}00{item}": title for item, title in enumerate(TITLES)}
    counts = pipeline.write_recommendations(root / "run", tmp_path / "a.csv", 10)
    assert (counts.titles_changed, counts.risky_ids) == (4, 1)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["item_id"] for row in rows] == table["item_id"].to_list()
    assert [row["user_id"] for row in rows] == table["user_id"].to_list()
    assert [int(row["rank"]) for row in rows] == table["rank"].to_list()
    np.testing.assert_allclose([float(row["score"]) for row in rows], table["score"].to_numpy(), rtol=1e-6)
    assert {row["item_id"]: row["title"] for row in rows} == dict(zip(titles_by_number(), SAFE, strict=True))
    assert len((tmp_path / "a.csv").read_text(encoding="utf-8").splitlines()) == len(table) + 1


def titles_by_number() -> list[str]:
    return [f"{'=' * (item == 0)}00{item}" for item in range(len(TITLES))]


def test_some_users_and_unknown_ones(root: Path, tmp_path: Path) -> None:
    counts = pipeline.write_recommendations(root / "run", tmp_path / "a.csv", 1, user_ids=["u07", "none", "u03", "u07"])
    assert (counts.users, counts.rows, counts.unknown) == (2, 2, ("none",))
    assert pl.read_csv(tmp_path / "a.csv")["user_id"].to_list() == ["u07", "u03"]
    with pytest.raises(DataError, match="no user 'none'"):
        pipeline.write_recommendations(root / "run", tmp_path / "b.csv", 1, user_ids=["none"])
    assert not (tmp_path / "b.csv").exists()


def test_only_recommendations_are_replaced(root: Path, tmp_path: Path) -> None:
    for name in ("a.csv", "a.parquet"):
        pipeline.write_recommendations(root / "run", tmp_path / name, 1)
        pipeline.write_recommendations(root / "run", tmp_path / name, 2)
    assert len(pl.read_csv(tmp_path / "a.csv")) == len(pl.read_parquet(tmp_path / "a.parquet")) > 30
    (tmp_path / "b.csv").write_text("user_id,item_id\n1,2\n")
    (tmp_path / "empty.csv").write_text("")
    pl.DataFrame({"user_id": ["u"]}).write_parquet(tmp_path / "b.parquet")
    (tmp_path / "c.parquet").write_text("no table")
    (tmp_path / "d.csv").mkdir()
    for name in ("b.csv", "empty.csv", "b.parquet", "c.parquet", "d.csv"):
        with pytest.raises(ConfigError, match="already holds something else"):
            pipeline.write_recommendations(root / "run", tmp_path / name, 1)
    with pytest.raises(ConfigError, match=r"recs\.xlsx, expected a file that ends with \.parquet or \.csv"):
        pipeline.write_recommendations(root / "run", tmp_path / "recs.xlsx", 1)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_an_interrupted_file_is_absent_or_the_earlier_one(
    root: Path, tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a killed process left is removed by the next call."""
    out = tmp_path / f"recs.{ending}"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.write_recommendations(root / "run", out, 1, progress=stop)
    assert list(tmp_path.iterdir()) == []
    process = 2**22 + 1  # above the largest number of a process
    (tmp_path / f".{out.name}.{process}.new").write_text("half")
    (tmp_path / f".{out.name}.parts.{process}.new").mkdir()
    running = tmp_path / f".{out.name}.{os.getppid()}.new"
    running.write_text("of another process")
    pipeline.write_recommendations(root / "run", out, 1)
    assert {path.name for path in tmp_path.iterdir()} == {out.name, running.name}
    before = out.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        pipeline.write_recommendations(root / "run", out, 2, progress=stop)
    assert out.read_bytes() == before
