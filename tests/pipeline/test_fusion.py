"""Late fusion and text alone as run folders: what chooses the weight, what they serve, what they cost."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file
from tests.edited_folders import accept_changes

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.diagnostics import redraw
from hardneg.errors import ConfigError
from hardneg.evaluation import best_weight
from hardneg.models import MF
from hardneg.pipeline import FusionConfig, RunConfig
from hardneg.stage import Stage
from hardneg.text import text_vectors
from hardneg.training import FitConfig
from hardneg.types import Floats

CONFIG = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=4, check_every=2))


class Letters:
    """Encodes a text by how often it has each letter."""

    name = identity = "letters"

    def encode(self, texts: list[str], progress: object = None) -> Floats:
        rows = np.array([[text.lower().count(chr(97 + k)) for k in range(26)] for text in texts], np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.where(lengths > 0, rows / np.maximum(lengths, 1e-9), np.nan).astype(np.float32)


@pytest.fixture(scope="module")
def made(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run/, profiles/ and vectors/ of the small store."""
    root = tmp_path_factory.mktemp("made")
    pipeline.train_stage(folders / "split", CONFIG).run(root / "run")
    pipeline.extract_profiles_stage(folders / "split").run(root / "profiles")
    pipeline.encode_texts_stage(folders / "split", root / "profiles", Letters()).run(root / "vectors")
    return root


def test_vectors_are_those_of_item_texts_and_profiles(folders: Path, made: Path) -> None:
    data, found = splits.read_split(folders / "split"), text_vectors.read_text_vectors(made / "vectors")
    written = pl.read_parquet(made / "profiles" / "users.parquet")["profile"].to_list()
    np.testing.assert_array_equal(found.users, Letters().encode(written))
    assert found.items.shape == (data.train.n_items, 26)
    assert found.source == "extractive profiles, letters"


def test_a_fused_run_is_chosen_on_validation_and_evaluated_like_any_run(
    folders: Path, made: Path, tmp_path: Path
) -> None:
    pipeline.fuse_stage(made / "run", folders / "split", made / "vectors").run(tmp_path / "fused")
    notes = artifacts.read_manifest(tmp_path / "fused", pipeline.RUN)["notes"]
    values = {float(weight): value for weight, value in notes["on validation"].items()}
    assert list(values) == list(FusionConfig().weights)
    assert notes["weight"] == best_weight(values)
    curves = pl.read_parquet(made / "run" / "metrics.parquet").filter(split="valid", metric="recall@20")
    assert values[0] == pytest.approx(curves.filter(epoch=notes["best epoch"])["value"].item())
    assert pl.read_parquet(tmp_path / "fused" / "metrics.parquet")["value"].max() == max(values.values())
    pipeline.evaluate_run(tmp_path / "fused", folders / "split")
    pipeline.evaluate_run(made / "run", folders / "split")
    users = [
        pl.read_parquet(run / "evaluation" / "per_user.parquet")["user_id"]
        for run in (made / "run", tmp_path / "fused")
    ]
    assert users[0].equals(users[1])


def test_with_weight_zero_alone_it_is_the_run_bit_for_bit(folders: Path, made: Path, tmp_path: Path) -> None:
    pipeline.fuse_stage(made / "run", folders / "split", made / "vectors", FusionConfig(weights=(0.0,))).run(
        tmp_path / "out"
    )
    for name in ("embeddings.safetensors", "users.parquet", "items.parquet", "seen.parquet"):
        assert artifacts.file_hash(tmp_path / "out" / name) == artifacts.file_hash(made / "run" / name)


@pytest.mark.parametrize("is_centred", [False, True])
def test_text_alone_needs_no_run(folders: Path, made: Path, tmp_path: Path, is_centred: bool) -> None:
    pipeline.text_only_stage(folders / "split", made / "vectors", FusionConfig(centred=is_centred)).run(
        tmp_path / "text"
    )
    assert artifacts.read_manifest(tmp_path / "text", pipeline.RUN)["notes"]["weight"] is None
    tables = load_file(tmp_path / "text" / "embeddings.safetensors")
    found = (tables["users"] @ tables["items"].T).numpy()
    vectors = text_vectors.read_text_vectors(made / "vectors")
    if not is_centred:
        np.testing.assert_allclose(found, np.nan_to_num(vectors.users) @ np.nan_to_num(vectors.items).T, atol=1e-5)
    assert abs(found).max() <= 1 + 1e-5
    pipeline.evaluate_run(tmp_path / "text", folders / "split")
    assert (
        len(pipeline.recommend(tmp_path / "text", splits.read_split(folders / "split").vocabulary.user_ids[0], 5)) == 5
    )


def test_test_pairs_change_nothing(folders: Path, made: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, redraw(data, "test", seed=0))).run(
        tmp_path / "split"
    )
    for split, name in ((folders / "split", "one"), (tmp_path / "split", "two")):
        pipeline.fuse_stage(made / "run", split, made / "vectors").run(tmp_path / name)
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "two")


def test_costs_are_those_of_the_run_and_of_the_profiles(folders: Path, made: Path, tmp_path: Path) -> None:
    needed = {"needed": {"calls": 7, "tokens": 900, "money": 0.5}}
    (made / "vectors" / "costs.json").write_text(json.dumps(needed))
    accept_changes(made / "vectors")
    pipeline.fuse_stage(made / "run", folders / "split", made / "vectors").run(tmp_path / "fused")
    found, before = (json.loads((folder / "costs.json").read_text()) for folder in (tmp_path / "fused", made / "run"))
    assert (found["llm_calls"], found["llm_tokens"], found["money"]) == (7, 900, 0.5)
    assert found["seconds"] > before["seconds"]


def test_another_split_and_a_fused_run_are_refused(folders: Path, made: Path, tmp_path: Path) -> None:
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "other"
    )
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.fuse_stage(made / "run", tmp_path / "other", made / "vectors").run(tmp_path / "fused")
    with pytest.raises(ConfigError, match="was made from another split"):
        pipeline.text_only_stage(tmp_path / "other", made / "vectors").run(tmp_path / "fused")
    pipeline.text_only_stage(folders / "split", made / "vectors").run(tmp_path / "text")
    with pytest.raises(ConfigError, match="is text only already, expected a trained run"):
        pipeline.fuse_stage(tmp_path / "text", folders / "split", made / "vectors").run(tmp_path / "fused")


def test_profiles_may_be_the_items_of_a_user(folders: Path, made: Path, tmp_path: Path) -> None:
    config = FusionConfig(profile="items", centred=False)
    pipeline.text_only_stage(folders / "split", made / "vectors", config).run(tmp_path / "text")
    data, vectors = splits.read_split(folders / "split"), text_vectors.read_text_vectors(made / "vectors")
    mean = np.nan_to_num(vectors.items)[data.train.items_of(0)].mean(axis=0)
    found = load_file(tmp_path / "text" / "embeddings.safetensors")["users"][0].numpy()
    np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)
    pipeline.fuse_stage(made / "run", folders / "split", made / "vectors", config).run(tmp_path / "fused")
    assert artifacts.read_manifest(tmp_path / "fused", pipeline.RUN)["config"]["profile"] == "items"
