"""From a split to neighbours to a semantic-mixing run, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError
from hardneg.mining.retrieval import text_neighbours
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.sampling import DNS, SemanticMixing
from hardneg.sampling.mined import NEIGHBOURS, NeighbourSource, read_neighbours
from hardneg.text import profiles
from hardneg.training import FitConfig

FIT = FitConfig(epochs=4, check_every=2)
DNS_RUN = RunConfig(model=MF(embedding_size=8), sampler=DNS(candidates=4), fit=FIT)


def semantic_mixing(alpha: float) -> RunConfig:
    return DNS_RUN.model_copy(update={"sampler": SemanticMixing(sampler=DNS(candidates=4), alpha=alpha, neighbours=5)})


class Lengths:
    """Texts as short vectors, without a model."""

    name = identity = "lengths"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        found = np.array([[len(text), text.count("a"), text.count("e"), 1] for text in texts], dtype=np.float32)
        return found / np.linalg.norm(found, axis=1, keepdims=True)


@pytest.mark.parametrize("by", ["text", "co-occurrence", "random"])
def test_neighbours_make_a_run(folders: Path, tmp_path: Path, by: NeighbourSource) -> None:
    pipeline.neighbours_stage(folders / "split", by, k=5, encoder=Lengths(), seed=3).run(tmp_path / "near")
    assert artifacts.read_manifest(tmp_path / "near", NEIGHBOURS)["notes"]["source"].startswith(by)
    pipeline.train_stage(folders / "split", semantic_mixing(0.4), negatives=tmp_path / "near").run(tmp_path / "run")
    manifest = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)
    assert manifest["inputs"]["neighbours"] == artifacts.folder_hash(tmp_path / "near")
    assert manifest["notes"]["pairs mixed with a neighbour"] > 0
    pipeline.evaluate_run(tmp_path / "run", folders / "split")


def test_neighbours_by_item_profiles(folders: Path, tmp_path: Path) -> None:
    """Shuffled profiles have the neighbours of the profiles, at other items."""
    split, stages = folders / "split", pipeline.neighbours_stage
    pipeline.extract_profiles_stage(split).run(tmp_path / "profiles")
    pipeline.shuffle_profiles_stage(split, tmp_path / "profiles", seed=1).run(tmp_path / "mixed")
    tables = {}
    for name in ("profiles", "mixed"):
        stages(split, "text", k=3, encoder=Lengths(), profiles_dir=tmp_path / name).run(tmp_path / f"near-{name}")
        manifest = artifacts.read_manifest(tmp_path / f"near-{name}", NEIGHBOURS)
        assert manifest["inputs"]["profiles"] == artifacts.folder_hash(tmp_path / name)
        tables[name] = np.array(profiles.read_profiles(tmp_path / name).items)
        found = Lengths().encode(list(tables[name]))
        expected, _ = text_neighbours(found, 3)
        np.testing.assert_array_equal(read_neighbours(tmp_path / f"near-{name}", len(expected)).items, expected)
    assert sorted(tables["profiles"]) == sorted(tables["mixed"])
    assert list(tables["profiles"]) != list(tables["mixed"])


def test_without_alpha_it_is_the_run_of_the_sampler_inside_bit_for_bit(folders: Path, tmp_path: Path) -> None:
    pipeline.neighbours_stage(folders / "split", "random", k=5).run(tmp_path / "near")
    pipeline.train_stage(folders / "split", semantic_mixing(0), negatives=tmp_path / "near").run(tmp_path / "one")
    pipeline.train_stage(folders / "split", DNS_RUN).run(tmp_path / "two")
    for name in ("model.safetensors", "embeddings.safetensors", "metrics.parquet", "examples.parquet"):
        assert artifacts.file_hash(tmp_path / "one" / name) == artifacts.file_hash(tmp_path / "two" / name)


def test_what_does_not_fit_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no encoder"):
        pipeline.neighbours_stage(folders / "split", "text").run(tmp_path / "near")
    pipeline.neighbours_stage(folders / "split", "co-occurrence", k=5).run(tmp_path / "near")
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "other"
    )
    with pytest.raises(ConfigError, match="was made from another split"):
        pipeline.train_stage(tmp_path / "other", semantic_mixing(0.4), negatives=tmp_path / "near").run(
            tmp_path / "run"
        )
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.neighbours_stage(folders / "split", "co-occurrence", k=6).run(tmp_path / "near")
