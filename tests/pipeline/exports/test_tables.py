"""Embeddings and vectors are read back under original ids by numpy, polars and safetensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file

from hardneg import artifacts, pipeline
from hardneg.data import split as splits
from hardneg.pipeline.exports import export_stage
from hardneg.sampling import mined


@pytest.mark.parametrize("to", ["parquet", "npy", "safetensors"])
def test_embeddings_of_a_run(store_root: Path, folders: Path, tmp_path: Path, to: pipeline.ExportFormat) -> None:
    run, split = pipeline.read_run(store_root / "run"), splits.read_split(folders / "split")
    out = export_stage(store_root / "run", to).run(tmp_path / "out")
    users, items = (pl.read_parquet(out / f"{name}.parquet") for name in ("users", "items"))
    assert users["user_id"].to_list() == split.vocabulary.user_ids
    assert items.select("item_id", "title").equals(split.texts.select("item_id", "title"))
    if to == "parquet":
        found = {
            name: np.stack(table["embedding"].to_list()) for name, table in {"users": users, "items": items}.items()
        }
    elif to == "npy":
        found = {name: np.load(out / f"{name}.npy") for name in ("users", "items")}
    else:
        found = load_file(out / "embeddings.safetensors")
    np.testing.assert_array_equal(found["users"], run.embeddings.final_users.numpy())
    np.testing.assert_array_equal(found["items"], run.embeddings.final_items.numpy())
    notes = artifacts.read_manifest(out, "export")["notes"]
    assert notes == {"users": split.train.n_users, "items": split.train.n_items, "size": 8}


@pytest.mark.parametrize("to", ["parquet", "npy", "safetensors"])
@pytest.mark.parametrize("name", ["negatives", "random"])
def test_vectors_of_negatives(
    store_root: Path, folders: Path, tmp_path: Path, to: pipeline.ExportFormat, name: str
) -> None:
    split = splits.read_split(folders / "split")
    negatives = mined.read_negatives(store_root / name, split.vocabulary, len(split.train))
    out = export_stage(store_root / name, to, folders / "split").run(tmp_path / "out")
    pairs = pl.read_parquet(out / ("vectors.parquet" if to == "parquet" else "pairs.parquet"))
    ids, titles = split.vocabulary, split.texts["title"].to_list()
    for row in (0, 17, len(split.train) - 1):
        user, item = int(split.train.users[row]), int(split.train.items[row])
        expected = (ids.user_ids[user], ids.item_ids[item], titles[item])
        assert pairs.select("user_id", "positive_item_id", "positive_title").row(row) == expected
    if to == "parquet":
        assert [vector is not None for vector in pairs["embedding"]] == negatives.present.tolist()
        found = np.stack(pairs["embedding"].drop_nulls().to_list())
        np.testing.assert_array_equal(found, np.asarray(negatives.vectors, np.float32)[negatives.present])
    else:
        found = np.load(out / "vectors.npy") if to == "npy" else load_file(out / "vectors.safetensors")["negatives"]
        np.testing.assert_array_equal(found, negatives.vectors)
    assert artifacts.read_manifest(out, "export")["notes"]["pairs"] == len(pairs) == len(split.train)


def test_a_row_per_negative_with_titles(store_root: Path, folders: Path, tmp_path: Path) -> None:
    split = splits.read_split(folders / "split")
    out = export_stage(store_root / "negatives", "parquet", folders / "split").run(tmp_path / "out")
    table, made = (
        pl.read_parquet(out / "negatives.parquet"),
        pl.read_parquet(store_root / "negatives" / "negatives.parquet"),
    )
    titles = dict(split.texts.select("item_id", "title").rows())
    assert table.columns[:5] == ["user_id", "positive_item_id", "positive_title", "item_id", "title"]
    assert table.select(made.drop("row").columns).equals(made.drop("row"))
    assert table["title"].to_list() == [titles[item] for item in made["item_id"]]
    assert table["positive_title"].to_list() == [titles[item] for item in made["positive_item_id"]]


def test_missing_vectors_are_null(
    store_root: Path, folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = splits.read_split(folders / "split")
    vectors = np.array(mined.read_negatives(store_root / "negatives", split.vocabulary, len(split.train)).vectors)
    vectors[3] = np.nan
    items = np.full((len(vectors), 1), -1)
    monkeypatch.setattr(mined, "read_negatives", lambda *_: mined.MinedNegatives(items, vectors, "test"))
    out = export_stage(store_root / "negatives", "parquet", folders / "split").run(tmp_path / "out")
    column = pl.read_parquet(out / "vectors.parquet")["embedding"]
    assert (column[3], column.null_count()) == (None, 1)
    assert artifacts.read_manifest(out, "export")["notes"]["pairs without a vector"] == 1
