"""Nearest items of an item, compared with a slow loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.diagnostics.test_leakage import WordCounts

from hardneg import pipeline
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError, DataError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.storage import read_array
from hardneg.training import FitConfig


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("similar")
    config = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=1))
    pipeline.train_stage(folders / "split", config).run(root / "run")
    pipeline.extract_profiles_stage(folders / "split").run(root / "profiles")
    pipeline.encode_texts_stage(folders / "split", root / "profiles", WordCounts()).run(root / "vectors")
    return root / "run"


def slow_nearest(vectors: np.ndarray, item: int) -> list[tuple[float, int]]:
    cosines = []
    for other, row in enumerate(vectors.astype(float)):
        if other != item and row.any() and not np.isnan(row).any():
            product = sum(a * b for a, b in zip(row, vectors[item].astype(float), strict=True))
            cosines.append((product / np.sqrt((row**2).sum() * (vectors[item].astype(float) ** 2).sum()), other))
    return sorted(cosines, key=lambda pair: (-pair[0], pair[1]))


@pytest.mark.parametrize("by", ["embeddings", "text"])
def test_the_nearest_items_are_those_of_a_slow_loop(run: Path, by: str) -> None:
    vectors_dir = run.parent / "vectors" if by == "text" else None
    vectors = (
        np.array(read_array(vectors_dir / "items.npy"))
        if vectors_dir
        else pipeline.read_run(run).embeddings.final_items.numpy()
    )
    items = pl.read_parquet(run / "items.parquet")
    for item in (0, 7):
        best = pipeline.find_similar_items(run, items["item_id"][item], 12, vectors_dir)
        expected = slow_nearest(vectors, item)
        assert best.table["rank"].to_list() == list(range(1, 13))
        np.testing.assert_allclose(best.table["similarity"], [cosine for cosine, _ in expected[:12]], atol=1e-5)
        assert best.title == items["title"][item]
        assert items["item_id"][item] not in best.table["item_id"].to_list()
        titles = dict(items.select("item_id", "title").rows())
        assert all(titles[name] == title for name, title in best.table.select("item_id", "title").rows())
        assert len(pipeline.find_similar_items(run, items["item_id"][item], 1000, vectors_dir).table) == len(expected)
        if by == "embeddings":
            assert best.table["item_id"].to_list() == [items["item_id"][other] for _, other in expected[:12]]


def test_rows_without_a_direction_are_left_out_and_counted(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = np.eye(3, 2, dtype=np.float32).repeat(4, axis=0)  # rows 8 to 11 are zeros
    table[7] = np.nan
    n_items = len(pl.read_parquet(run / "items.parquet"))
    vectors = np.concatenate([table, np.zeros((n_items - 12, 2), np.float32)])
    monkeypatch.setattr("hardneg.pipeline.similar_items._text_vectors_of", lambda *_: (vectors, "test"))
    ids = pl.read_parquet(run / "items.parquet")["item_id"]
    best = pipeline.find_similar_items(run, ids[1], 100, run)
    assert best.table["item_id"].to_list() == [ids[item] for item in (0, 2, 3, 4, 5, 6)]
    assert best.table["similarity"].to_list() == [1, 1, 1, 0, 0, 0]
    assert best.without == n_items - 7
    for item in (7, 9):
        with pytest.raises(DataError, match="has no vector"):
            pipeline.find_similar_items(run, ids[item], 3, run)


def test_an_unknown_item_and_vectors_of_another_split(run: Path, folders: Path, tmp_path: Path) -> None:
    title = pl.read_parquet(run / "items.parquet")["title"][3]
    with pytest.raises(DataError, match="has no item 'none of these', expected an item_id; no title contains it"):
        pipeline.find_similar_items(run, "none of these", 3)
    with pytest.raises(DataError, match="its title contains this: 'i"):
        pipeline.find_similar_items(run, title.upper(), 3)
    other = pipeline.split_stage(folders / "dataset", SplitConfig(seed=5)).run(tmp_path / "split")
    pipeline.extract_profiles_stage(other).run(tmp_path / "profiles")
    pipeline.encode_texts_stage(other, tmp_path / "profiles", WordCounts()).run(tmp_path / "vectors")
    with pytest.raises(ConfigError, match="made from another split"):
        pipeline.find_similar_items(run, pl.read_parquet(run / "items.parquet")["item_id"][0], 3, tmp_path / "vectors")


def test_own_vectors_are_compared(run: Path, tmp_path: Path) -> None:
    ids = pl.read_parquet(run / "items.parquet")["item_id"]
    table = pl.DataFrame({"item_id": ids[:4], "x": [1.0, 1.0, 0.0, -1.0], "y": [0.0, 1.0, 1.0, 0.0]})
    table.write_parquet(tmp_path / "own.parquet")
    best = pipeline.find_similar_items(run, ids[0], 9, tmp_path / "own.parquet")
    assert best.table["item_id"].to_list() == [ids[1], ids[2], ids[3]]
    np.testing.assert_allclose(best.table["similarity"], [0.5**0.5, 0, -1], atol=1e-6)
    assert (best.by, best.without) == ("own vectors", len(ids) - 4)
