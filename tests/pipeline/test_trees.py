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
from hardneg.stage import Stage
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
    pipeline.train_stage(folders / "split", RUN).run(out)
    return out


def test_trees_of_a_run_say_what_they_are_and_stand(folders: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trees"
    pipeline.trees_stage(folders / "split", CONFIG, run=run).run(out)
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
    pipeline.trees_stage(folders / "split", CONFIG, run=run).run(out)
    assert (out / trees_folder.TABLE).stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.trees_stage(folders / "split", CONFIG.model_copy(update={"seed": 1}), run=run).run(out)


def test_controls_are_trees_folders_of_the_same_codes(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.trees_stage(folders / "split", CONFIG, run=run).run(tmp_path / "trees")
    n_items = splits.read_split(folders / "split").train.n_items
    own = trees_folder.read_trees(tmp_path / "trees", n_items)
    for control in ("shuffled", "random"):
        out = tmp_path / control
        pipeline.control_trees_stage(folders / "split", tmp_path / "trees", control, seed=3).run(out)
        made = trees_folder.read_trees(out, n_items)
        assert made.source.startswith(control)
        assert sorted(made.structural.lengths) == sorted(own.structural.lengths)
        assert (made.semantic.codes != own.semantic.codes).any()
        assert artifacts.read_manifest(out, trees_folder.KIND)["inputs"]["trees"] == artifacts.folder_hash(
            tmp_path / "trees"
        )
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.control_trees_stage(folders / "split", tmp_path / "trees", "random", seed=4).run(tmp_path / "random")


def test_trees_of_texts(folders: Path, tmp_path: Path) -> None:
    pipeline.extract_profiles_stage(folders / "split").run(tmp_path / "profiles")
    pipeline.encode_texts_stage(folders / "split", tmp_path / "profiles", Lengths()).run(tmp_path / "vectors")
    pipeline.trees_stage(folders / "split", CONFIG, vectors=tmp_path / "vectors").run(tmp_path / "trees")
    trees = trees_folder.read_trees(tmp_path / "trees", splits.read_split(folders / "split").train.n_items)
    assert trees.semantic.coded.all()
    assert trees.source.endswith("lengths")


def test_other_test_pairs_change_no_byte(folders: Path, run: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    Stage(
        splits.KIND, {"redrawn": "test"}, {}, lambda draft: splits.write_split(draft, redraw(data, "test", seed=0))
    ).run(tmp_path / "split")
    pipeline.train_stage(tmp_path / "split", RUN).run(tmp_path / "run")
    pipeline.trees_stage(folders / "split", CONFIG, run=run).run(tmp_path / "one")
    pipeline.trees_stage(tmp_path / "split", CONFIG, run=tmp_path / "run").run(tmp_path / "two")
    assert artifacts.folder_hash(tmp_path / "one") == artifacts.folder_hash(tmp_path / "two")
    assert artifacts.key_at(tmp_path / "one") == artifacts.key_at(tmp_path / "two")


def test_what_does_not_fit_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    out = tmp_path / "trees"
    with pytest.raises(ConfigError, match="found neither"):
        pipeline.trees_stage(folders / "split", CONFIG).run(out)
    with pytest.raises(ConfigError, match="found both"):
        pipeline.trees_stage(folders / "split", CONFIG, run=run, vectors=run).run(out)
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "other"
    )
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.trees_stage(tmp_path / "other", CONFIG, run=run).run(out)
    pipeline.extract_profiles_stage(folders / "split").run(tmp_path / "profiles")
    pipeline.encode_texts_stage(folders / "split", tmp_path / "profiles", Lengths()).run(tmp_path / "vectors")
    with pytest.raises(ConfigError, match="another split"):
        pipeline.trees_stage(tmp_path / "other", CONFIG, vectors=tmp_path / "vectors").run(out)
    assert not out.exists()
