"""From a split and a run, or its texts, to trees; held-out pairs reach none of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.diagnostics import redraw
from hardneg.errors import ConfigError
from hardneg.models import MF
from hardneg.pipeline import RunConfig
from hardneg.training import FitConfig
from hardneg.trees import TreeConfig, TreesConfig, trees_folder

RUN = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=2, check_every=2))
CONFIG = TreesConfig(embedding_size=8, tree=TreeConfig(leaf_items=10))


class Lengths:
    """Texts as short vectors, without a model."""

    name = identity = "lengths"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        return np.array([[len(text), text.count("a"), text.count("e"), 1] for text in texts], dtype=np.float32)


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "run"
    pipeline.train(folders / "split", out, RUN)
    return out


def test_trees_of_a_run_say_what_they_are_and_stand(folders: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trees"
    pipeline.build_trees(folders / "split", out, CONFIG, run=run)
    manifest = artifacts.read_manifest(out, trees_folder.KIND)
    assert manifest["inputs"] == {
        "training data": splits.training_data_hash(folders / "split"),
        "run": artifacts.file_hash(run / "embeddings.safetensors"),
    }
    train = splits.read_split(folders / "split").train
    trees = trees_folder.read_trees(out, train.n_items)
    assert not trees.semantic.coded[train.item_counts == 0].any()
    assert trees.semantic.coded[train.item_counts > 0].all()
    assert trees.source == "item embeddings of a trained run"
    before = (out / trees_folder.TABLE).stat().st_mtime_ns
    pipeline.evaluate_run(run, folders / "split")  # more in the run folder, but the same embeddings
    pipeline.build_trees(folders / "split", out, CONFIG, run=run)
    assert (out / trees_folder.TABLE).stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.build_trees(folders / "split", out, CONFIG.model_copy(update={"seed": 1}), run=run)


def test_controls_are_trees_folders_of_the_same_codes(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.build_trees(folders / "split", tmp_path / "trees", CONFIG, run=run)
    n_items = splits.read_split(folders / "split").train.n_items
    own = trees_folder.read_trees(tmp_path / "trees", n_items)
    for control in ("shuffled", "random"):
        out = tmp_path / control
        pipeline.control_trees(folders / "split", tmp_path / "trees", out, control, seed=3)
        made = trees_folder.read_trees(out, n_items)
        assert made.source.startswith(control)
        assert sorted(made.structural.lengths) == sorted(own.structural.lengths)
        assert (made.semantic.codes != own.semantic.codes).any()
        assert artifacts.read_manifest(out, trees_folder.KIND)["inputs"]["trees"] == artifacts.folder_hash(
            tmp_path / "trees"
        )
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.control_trees(folders / "split", tmp_path / "trees", tmp_path / "random", "random", seed=4)


def test_trees_of_texts(folders: Path, tmp_path: Path) -> None:
    pipeline.profile(folders / "split", tmp_path / "profiles")
    pipeline.encode_split_texts(folders / "split", tmp_path / "profiles", tmp_path / "vectors", Lengths())
    pipeline.build_trees(folders / "split", tmp_path / "trees", CONFIG, vectors=tmp_path / "vectors")
    trees = trees_folder.read_trees(tmp_path / "trees", splits.read_split(folders / "split").train.n_items)
    assert trees.semantic.coded.all()
    assert trees.source.endswith("lengths")


def test_other_test_pairs_change_no_byte(folders: Path, run: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    splits.write_split(tmp_path / "split", redraw(data, "test", seed=0), config={"redrawn": "test"}, inputs={})
    pipeline.train(tmp_path / "split", tmp_path / "run", RUN)
    pipeline.build_trees(folders / "split", tmp_path / "one", CONFIG, run=run)
    pipeline.build_trees(tmp_path / "split", tmp_path / "two", CONFIG, run=tmp_path / "run")
    assert artifacts.folder_hash(tmp_path / "one") == artifacts.folder_hash(tmp_path / "two")
    assert artifacts.key_at(tmp_path / "one") == artifacts.key_at(tmp_path / "two")


def test_what_does_not_fit_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trees"
    with pytest.raises(ConfigError, match="found neither"):
        pipeline.build_trees(folders / "split", out, CONFIG)
    with pytest.raises(ConfigError, match="found both"):
        pipeline.build_trees(folders / "split", out, CONFIG, run=run, vectors=run)
    pipeline.split(folders / "dataset", tmp_path / "other", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9))
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.build_trees(tmp_path / "other", out, CONFIG, run=run)
    pipeline.profile(folders / "split", tmp_path / "profiles")
    pipeline.encode_split_texts(folders / "split", tmp_path / "profiles", tmp_path / "vectors", Lengths())
    with pytest.raises(ConfigError, match="another split"):
        pipeline.build_trees(tmp_path / "other", out, CONFIG, vectors=tmp_path / "vectors")
    assert not out.exists()
