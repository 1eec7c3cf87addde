"""The labels stage: made once, from a MixGCF run of this split and from no other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diagnostics.label_origin import read_label_origin
from diagnostics.rotated_labels import rotate_labels_stage
from safetensors.numpy import load_file, save_file
from tests.edited_folders import accept_changes

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning import TuningConfig
from hardneg.mining import LabelOptions, labels
from hardneg.models import MF, LightGCN
from hardneg.pipeline import FinetuneConfig, RunConfig
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.sampling import MixGCF
from hardneg.stage import Stage
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

UNTUNED = TuningConfig(epochs=0, pairs=64)
FIT = FitConfig(epochs=2, check_every=2)
CONFIG = RunConfig(sampler=MixGCF(candidates=4), fit=FIT, model=LightGCN(embedding_size=8, hops=2))


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mixgcf"
    pipeline.train_stage(folders / "split", CONFIG).run(out)
    return out


def test_labels_are_those_of_the_trained_tables(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.labels_stage(folders / "split", run, LabelOptions()).run(tmp_path / "labels")
    data = splits.read_split(folders / "split")
    found = labels.read_labels(tmp_path / "labels", data.train)
    stored = load_file(run / "embeddings.safetensors")
    np.testing.assert_allclose(found.users, stored["users"], atol=1e-6)
    np.testing.assert_allclose(found.items, stored["items"], atol=1e-6)
    model = pipeline.rebuild_backbone(run, CONFIG, data.train)
    with torch.no_grad():
        expected = labels.draw_label_vectors(model(), data.train, MixGCF(candidates=4), LabelOptions())
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    notes = json.loads((tmp_path / "labels" / "manifest.json").read_text())["notes"]
    assert notes["pairs"] == len(data.train)
    assert 0 < notes["cosine with the positive"] < 1


def test_mf_has_labels_too(folders: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"model": MF(embedding_size=4)})
    pipeline.train_stage(folders / "split", config).run(tmp_path / "run")
    pipeline.labels_stage(folders / "split", tmp_path / "run", LabelOptions(draws=2)).run(tmp_path / "labels")
    found = labels.read_labels(tmp_path / "labels", splits.read_split(folders / "split").train)
    assert found.vectors.shape[1] == 4
    assert (tmp_path / "labels" / "draws.npy").is_file()


def test_what_stands_is_not_made_again_also_after_an_evaluation(
    folders: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    pipeline.labels_stage(folders / "split", copied, LabelOptions()).run(tmp_path / "labels")
    pipeline.evaluate_run(copied, folders / "split")
    before = artifacts.content_hashes(tmp_path / "labels")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(labels, "draw_label_vectors", forbidden)
        pipeline.labels_stage(folders / "split", copied, LabelOptions()).run(tmp_path / "labels")
    pipeline.labels_stage(folders / "split", copied, LabelOptions()).run(tmp_path / "again")
    assert artifacts.content_hashes(tmp_path / "again") == before
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.labels_stage(folders / "split", copied, LabelOptions(seed=1)).run(tmp_path / "labels")


def test_test_pairs_reach_no_label(folders: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "split", tmp_path / "split")
    (tmp_path / "split" / "test.parquet").write_bytes((tmp_path / "split" / "valid.parquet").read_bytes())
    accept_changes(tmp_path / "split")
    for split, name in ((folders / "split", "one"), (tmp_path / "split", "other")):
        pipeline.labels_stage(split, run, LabelOptions()).run(tmp_path / name)
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "other")


def test_a_run_of_another_split_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "split"
    )
    with pytest.raises(ConfigError, match=r"was not trained on .*trained on this split"):
        pipeline.labels_stage(tmp_path / "split", run, LabelOptions()).run(tmp_path / "labels")
    shutil.copytree(folders / "split", tmp_path / "other")
    (tmp_path / "other" / "valid.parquet").write_bytes((folders / "split" / "test.parquet").read_bytes())
    accept_changes(tmp_path / "other")
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.labels_stage(tmp_path / "other", run, LabelOptions()).run(tmp_path / "labels")
    with pytest.raises(DataError, match="expected a run folder"):
        pipeline.labels_stage(folders / "split", folders / "split", LabelOptions()).run(tmp_path / "labels")


def test_what_comes_from_a_run_says_which_validation_pairs_chose_it(folders: Path, run: Path, tmp_path: Path) -> None:
    """With valid and test swapped, all that may be learnt from is the same, and the run was chosen by test pairs."""
    split, other = folders / "split", tmp_path / "swapped"
    data = splits.read_split(split)
    Stage(
        splits.KIND,
        {},
        {"dataset": "1"},
        lambda draft: splits.write_split(draft, replace(data, valid=data.test, test=data.valid)),
    ).run(other)
    pipeline.labels_stage(split, run, LabelOptions()).run(tmp_path / "labels")
    pipeline.labels_control_stage(split, tmp_path / "labels", "positive").run(tmp_path / "positive")
    pipeline.shuffled_negatives_stage(split, tmp_path / "positive", 0).run(tmp_path / "shuffled")
    rotate_labels_stage(split, tmp_path / "labels").run(tmp_path / "turned")
    pipeline.tune_stage(split, None, tmp_path / "labels", None, FinetuneConfig(tuning=UNTUNED)).run(tmp_path / "tuned")
    pipeline.trees_stage(split, TreesConfig(), run=run).run(tmp_path / "trees")
    pipeline.control_trees_stage(split, tmp_path / "trees", "random").run(tmp_path / "control")
    sources = pipeline.SuspectInputs(run, tmp_path / "control")
    pipeline.suspects_stage(split, sources).run(tmp_path / "suspects")
    made = ("labels", "positive", "shuffled", "turned", "tuned", "trees", "control", "suspects")
    for name in made:
        folder, kind = tmp_path / name, str(artifacts.kind_at(tmp_path / name))
        assert hash_of_same_split(folder, kind, split) == artifacts.folder_hash(folder)
        with pytest.raises(ConfigError, match="other validation pairs chose"):
            hash_of_same_split(folder, kind, other)
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["notes"]["valid"]  # as it was before
        artifacts.write_manifest(folder, manifest)
        assert hash_of_same_split(folder, kind, other) == artifacts.folder_hash(folder)


def test_turned_labels_say_that_none_can_be_drawn_beside_them(folders: Path, run: Path, tmp_path: Path) -> None:
    split, train = folders / "split", splits.read_split(folders / "split").train
    pipeline.labels_stage(split, run, LabelOptions()).run(tmp_path / "labels")
    read_label_origin(split, run, tmp_path / "labels", train)
    rotate_labels_stage(split, tmp_path / "labels").run(tmp_path / "turned")
    onto = json.loads((tmp_path / "labels" / "manifest.json").read_text())
    onto["inputs"]["onto"] = "vectors"
    onto["config"]["map seed"] = 0
    onto["key"] = artifacts.artifact_key(onto["kind"], onto["config"], onto["inputs"])
    artifacts.write_manifest(tmp_path / "labels", onto)
    for name in ("labels", "turned"):
        with pytest.raises(ConfigError, match="was rotated after it was drawn"):
            read_label_origin(split, run, tmp_path / name, train)


def test_another_sampler_is_refused(folders: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", RunConfig(fit=FIT, model=MF(embedding_size=4))).run(tmp_path / "run")
    with pytest.raises(ConfigError, match=r"'uniform', expected 'mixgcf'.*--sampler mixgcf"):
        pipeline.labels_stage(folders / "split", tmp_path / "run", LabelOptions()).run(tmp_path / "labels")


def test_a_run_whose_files_do_not_fit_each_other_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    stored = load_file(tmp_path / "run" / "embeddings.safetensors")
    save_file(stored | {"items": stored["items"] + 1}, tmp_path / "run" / "embeddings.safetensors")
    accept_changes(tmp_path / "run")
    with pytest.raises(DataError, match=r"the items of .* are not those that its model"):
        pipeline.labels_stage(folders / "split", tmp_path / "run", LabelOptions()).run(tmp_path / "labels")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"cut")
    accept_changes(tmp_path / "run")
    with pytest.raises(DataError, match=r"model.safetensors is no readable safetensors file .*make it again"):
        pipeline.labels_stage(folders / "split", tmp_path / "run", LabelOptions()).run(tmp_path / "labels")
