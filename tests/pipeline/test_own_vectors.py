"""Own vectors of items in the place of an encoder: vectors, retrieval and neighbours."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.cli.test_commands import refuse, succeed

import hardneg as hn
from hardneg import artifacts, pipeline
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.mining import RetrievalConfig
from hardneg.storage import read_array
from hardneg.text import ItemVectors, item_texts, text_vectors
from hardneg.types import Floats, Progress, unit_rows


class RandomVectors:
    """An encoder whose vectors depend on the text alone and have no ties."""

    name, identity = "random", "0"

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> Floats:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).standard_normal(12) for text in texts]
        return unit_rows(np.array(rows)).astype(np.float32)


@pytest.fixture(scope="module")
def own(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files with the vectors that `RandomVectors` gives the item texts, which are own vectors here."""
    folder, split = tmp_path_factory.mktemp("own"), splits.read_split(folders / "split")
    vectors = RandomVectors().encode(item_texts(split.texts))
    np.save(folder / "items.npy", vectors)
    ids = split.vocabulary.item_ids
    pl.DataFrame({"item_id": ids, "embedding": vectors})[::-1].write_parquet(folder / "items.parquet")
    pipeline.extract_profiles_stage(folders / "split").run(folder / "profiles")
    return folder


@pytest.mark.parametrize("name", ["items.npy", "items.parquet"])
def test_vectors_of_items_are_own_and_those_of_users_are_means(
    own: Path, folders: Path, tmp_path: Path, name: str
) -> None:
    split = splits.read_split(folders / "split")
    pipeline.encode_texts_stage(folders / "split", None, ItemVectors(own / name)).run(tmp_path / "vectors")
    made = text_vectors.read_text_vectors(tmp_path / "vectors")
    expected = np.load(own / "items.npy")
    np.testing.assert_allclose(made.items, expected, atol=1e-6)
    for user in (0, 5):
        mean = expected[split.train.items_of(user)].astype(float).mean(axis=0)
        np.testing.assert_allclose(made.users[user], mean / np.linalg.norm(mean), atol=1e-6)
    manifest = artifacts.read_manifest(tmp_path / "vectors", text_vectors.KIND)
    assert manifest["inputs"]["encoder"] == artifacts.file_hash(own / name)
    assert (manifest["notes"]["source"], manifest["notes"]["items without"]) == ("own vectors", 0)


def test_neighbours_are_those_of_the_encoded_texts(own: Path, folders: Path, tmp_path: Path) -> None:
    split = folders / "split"
    pipeline.neighbours_stage(split, "text", k=5, encoder=RandomVectors()).run(tmp_path / "encoded")
    pipeline.neighbours_stage(split, "text", k=5, encoder=ItemVectors(own / "items.parquet")).run(tmp_path / "own")
    tables = [read_array(tmp_path / name / "neighbours.npy") for name in ("encoded", "own")]
    np.testing.assert_array_equal(*tables)
    assert artifacts.read_manifest(tmp_path / "own", "neighbours")["notes"]["source"] == "own vectors"


def test_negatives_near_the_positive_are_those_of_the_encoded_texts(own: Path, folders: Path, tmp_path: Path) -> None:
    """With profile_share 0 the users' vectors do not count, and both must agree."""
    split, config = folders / "split", RetrievalConfig(profile_share=0, pool=20)
    pipeline.retrieve_stage(split, own / "profiles", config, RandomVectors()).run(tmp_path / "encoded")
    pipeline.retrieve_stage(split, None, config, ItemVectors(own / "items.npy")).run(tmp_path / "own")
    columns = ["row", "user_id", "positive_item_id", "negative_text", "item_id"]
    encoded, made = (pl.read_parquet(tmp_path / name / "negatives.parquet") for name in ("encoded", "own"))
    assert made.select(columns).equals(encoded.select(columns))
    assert set(made["source"]) == {"retrieved, own vectors"}
    assert "in own vectors" in made["reasoning"][0]
    shared = pipeline.retrieve_stage(split, None, RetrievalConfig(pool=20), ItemVectors(own / "items.npy"))
    shared.run(tmp_path / "shared")
    assert not pl.read_parquet(tmp_path / "shared" / "negatives.parquet")["item_id"].equals(made["item_id"])


def test_own_vectors_and_texts_are_not_mixed(own: Path, folders: Path) -> None:
    split, vectors = folders / "split", ItemVectors(own / "items.npy")
    for make in (
        lambda: pipeline.encode_texts_stage(split, own / "profiles", vectors),
        lambda: pipeline.encode_texts_stage(split, None, RandomVectors()),
        lambda: pipeline.retrieve_stage(split, own / "profiles", RetrievalConfig(), vectors),
        lambda: pipeline.neighbours_stage(split, "text", encoder=vectors, profiles_dir=own / "profiles"),
        lambda: pipeline.encode_texts_stage(split, None, vectors, items="profiles"),
    ):
        with pytest.raises(ConfigError, match="found"):
            make()


def test_the_python_api_takes_them(own: Path, folders: Path) -> None:
    split, vectors = hn.load_split(folders / "split"), hn.negatives.ItemVectors(own / "items.npy")
    assert len(hn.negatives.retrieve(split, encoder=vectors, pool=20).to_polars())
    assert hn.negatives.find_neighbours(split, encoder=vectors, k=3).notes["source"] == "own vectors"


def test_commands_take_them_and_an_audit_says_why_it_makes_nothing_again(
    own: Path, folders: Path, tmp_path: Path
) -> None:
    split, file = folders / "split", own / "items.npy"
    output = succeed("profiles", "encode", split, "--vectors", file, "--out", tmp_path / "vectors")
    assert "own vectors; without one: 0 items and 0 users" in output
    succeed("neighbours", "find", "text", split, "--vectors", file, "--out", tmp_path / "near")
    succeed("negatives", "retrieve", split, "--vectors", file, "--out", tmp_path / "negatives")
    output = succeed("audit", "folder", tmp_path / "negatives", "--split", split)
    assert "its vectors are a file of the user" in output
    assert "FAIL" not in output
    for words in (("--encoder", "other"), ("--profiles", own / "profiles")):
        for command in (("profiles", "encode"), ("negatives", "retrieve"), ("neighbours", "find", "text")):
            message = refuse(*command, split, "--vectors", file, *words, "--out", tmp_path / "x")
            assert f"found --vectors with {words[0]}" in message
    np.save(tmp_path / "short.npy", np.ones((3, 2)))
    assert "shape 3 x 2" in refuse(
        "profiles", "encode", split, "--vectors", tmp_path / "short.npy", "--out", tmp_path / "x"
    )
