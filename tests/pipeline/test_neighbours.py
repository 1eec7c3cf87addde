"""From a split to neighbours to a semantic-mixing run, and what does not fit together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.sampling import DNS, SemanticMixing
from hardneg.sampling.item_neighbours import KIND, NeighbourSource
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
    pipeline.find_neighbours(folders / "split", tmp_path / "near", by, k=5, encoder=Lengths(), seed=3)
    assert artifacts.read_manifest(tmp_path / "near", KIND)["notes"]["source"].startswith(by)
    pipeline.train(folders / "split", tmp_path / "run", semantic_mixing(0.4), negatives=tmp_path / "near")
    manifest = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)
    assert manifest["inputs"]["neighbours"] == artifacts.folder_hash(tmp_path / "near")
    assert manifest["notes"]["pairs mixed with a neighbour"] > 0
    pipeline.evaluate_run(tmp_path / "run", folders / "split")


def test_without_alpha_it_is_the_run_of_the_sampler_inside_bit_for_bit(folders: Path, tmp_path: Path) -> None:
    pipeline.find_neighbours(folders / "split", tmp_path / "near", "random", k=5)
    pipeline.train(folders / "split", tmp_path / "one", semantic_mixing(0), negatives=tmp_path / "near")
    pipeline.train(folders / "split", tmp_path / "two", DNS_RUN)
    for name in ("model.safetensors", "embeddings.safetensors", "metrics.parquet", "examples.parquet"):
        assert artifacts.file_hash(tmp_path / "one" / name) == artifacts.file_hash(tmp_path / "two" / name)


def test_what_does_not_fit_is_refused(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found no encoder"):
        pipeline.find_neighbours(folders / "split", tmp_path / "near", "text")
    pipeline.find_neighbours(folders / "split", tmp_path / "near", "co-occurrence", k=5)
    pipeline.split(folders / "dataset", tmp_path / "other", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9))
    with pytest.raises(ConfigError, match="was made from another split"):
        pipeline.train(tmp_path / "other", tmp_path / "run", semantic_mixing(0.4), negatives=tmp_path / "near")
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.find_neighbours(folders / "split", tmp_path / "near", "co-occurrence", k=6)
