"""The labels stage: made once, from a MixGCF run of this split and from no other."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from hardneg import artifacts, pipeline
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning import TuningConfig
from hardneg.mining import LabelOptions, labels
from hardneg.models import MF, LightGCN
from hardneg.pipeline import FinetuneConfig, RunConfig
from hardneg.pipeline.labels import made_by
from hardneg.pipeline.provenance import hash_of_same_split
from hardneg.sampling import MixGCF
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

UNTUNED = TuningConfig(epochs=0, pairs=64)
FIT = FitConfig(epochs=2, check_every=2)
CONFIG = RunConfig(sampler=MixGCF(candidates=4), fit=FIT, model=LightGCN(embedding_size=8, hops=2))


@pytest.fixture(scope="module")
def run(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mixgcf"
    pipeline.train(folders / "split", out, CONFIG)
    return out


def test_labels_are_those_of_the_trained_tables(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.draw_label_folder(folders / "split", run, tmp_path / "labels", LabelOptions())
    data = splits.read_split(folders / "split")
    found = labels.read_labels(tmp_path / "labels", data.train)
    stored = load_file(run / "embeddings.safetensors")
    np.testing.assert_allclose(found.users, stored["users"], atol=1e-6)
    np.testing.assert_allclose(found.items, stored["items"], atol=1e-6)
    model = pipeline.rebuild(run, CONFIG, data.train)
    with torch.no_grad():
        expected = labels.draw_label_vectors(model(), data.train, MixGCF(candidates=4), LabelOptions())
    np.testing.assert_array_equal(found.vectors, expected.vectors)
    notes = json.loads((tmp_path / "labels" / "manifest.json").read_text())["notes"]
    assert notes["pairs"] == len(data.train)
    assert 0 < notes["cosine with the positive"] < 1


def test_mf_has_labels_too(folders: Path, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"model": MF(embedding_size=4)})
    pipeline.train(folders / "split", tmp_path / "run", config)
    pipeline.draw_label_folder(folders / "split", tmp_path / "run", tmp_path / "labels", LabelOptions(draws=2))
    found = labels.read_labels(tmp_path / "labels", splits.read_split(folders / "split").train)
    assert found.vectors.shape[1] == 4
    assert (tmp_path / "labels" / "draws.npy").is_file()


def test_what_stands_is_not_made_again_also_after_an_evaluation(
    folders: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run, copied)
    pipeline.draw_label_folder(folders / "split", copied, tmp_path / "labels", LabelOptions())
    pipeline.evaluate_run(copied, folders / "split")
    before = artifacts.content_hashes(tmp_path / "labels")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("nothing should be drawn again")

    with monkeypatch.context() as patch:
        patch.setattr(labels, "draw_label_vectors", forbidden)
        pipeline.draw_label_folder(folders / "split", copied, tmp_path / "labels", LabelOptions())
    pipeline.draw_label_folder(folders / "split", copied, tmp_path / "again", LabelOptions())
    assert artifacts.content_hashes(tmp_path / "again") == before
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.draw_label_folder(folders / "split", copied, tmp_path / "labels", LabelOptions(seed=1))


def test_test_pairs_reach_no_label(folders: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "split", tmp_path / "split")
    (tmp_path / "split" / "test.parquet").write_bytes((tmp_path / "split" / "valid.parquet").read_bytes())
    for split, name in ((folders / "split", "one"), (tmp_path / "split", "other")):
        pipeline.draw_label_folder(split, run, tmp_path / name, LabelOptions())
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "other")


def test_a_run_of_another_split_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    pipeline.split(folders / "dataset", tmp_path / "split", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9))
    with pytest.raises(ConfigError, match=r"was not trained on .*trained on this split"):
        pipeline.draw_label_folder(tmp_path / "split", run, tmp_path / "labels", LabelOptions())
    shutil.copytree(folders / "split", tmp_path / "other")
    (tmp_path / "other" / "valid.parquet").write_bytes((folders / "split" / "test.parquet").read_bytes())
    with pytest.raises(ConfigError, match="was not trained on"):
        pipeline.draw_label_folder(tmp_path / "other", run, tmp_path / "labels", LabelOptions())
    with pytest.raises(DataError, match="expected a run folder"):
        pipeline.draw_label_folder(folders / "split", folders / "split", tmp_path / "labels", LabelOptions())


def test_what_comes_from_a_run_says_which_validation_pairs_chose_it(folders: Path, run: Path, tmp_path: Path) -> None:
    """With valid and test swapped, all that may be learnt from is the same, and the run was chosen by test pairs."""
    split, other = folders / "split", tmp_path / "swapped"
    data = splits.read_split(split)
    splits.write_split(other, replace(data, valid=data.test, test=data.valid), config={}, inputs={"dataset": "1"})
    pipeline.draw_label_folder(split, run, tmp_path / "labels", LabelOptions())
    pipeline.mine_from_labels(split, tmp_path / "labels", tmp_path / "positive", "positive")
    pipeline.mine_shuffled(split, tmp_path / "positive", tmp_path / "shuffled", 0)
    pipeline.turn_labels(split, tmp_path / "labels", tmp_path / "turned")
    pipeline.finetune(split, None, tmp_path / "labels", tmp_path / "tuned", None, FinetuneConfig(tuning=UNTUNED))
    pipeline.build_trees(split, tmp_path / "trees", TreesConfig(), run=run)
    pipeline.control_trees(split, tmp_path / "trees", tmp_path / "control", "random")
    sources = pipeline.SuspectInputs(run, tmp_path / "control")
    pipeline.identify_suspects(split, tmp_path / "suspects", sources)
    made = ("labels", "positive", "shuffled", "turned", "tuned", "trees", "control", "suspects")
    for name in made:
        folder, kind = tmp_path / name, str(artifacts.kind_at(tmp_path / name))
        assert hash_of_same_split(folder, kind, split) == artifacts.folder_hash(folder)
        with pytest.raises(ConfigError, match="other validation pairs chose"):
            hash_of_same_split(folder, kind, other)
        manifest = json.loads((folder / "manifest.json").read_text())
        del manifest["notes"]["valid"]  # as it was before
        (folder / "manifest.json").write_text(json.dumps(manifest))
        assert hash_of_same_split(folder, kind, other) == artifacts.folder_hash(folder)


def test_turned_labels_say_that_none_can_be_drawn_beside_them(folders: Path, run: Path, tmp_path: Path) -> None:
    split, train = folders / "split", splits.read_split(folders / "split").train
    pipeline.draw_label_folder(split, run, tmp_path / "labels", LabelOptions())
    made_by(split, run, tmp_path / "labels", train)
    pipeline.turn_labels(split, tmp_path / "labels", tmp_path / "turned")
    onto = json.loads((tmp_path / "labels" / "manifest.json").read_text())
    onto["inputs"]["onto"] = "vectors"
    onto["config"]["map seed"] = 0
    (tmp_path / "labels" / "manifest.json").write_text(json.dumps(onto))
    for name in ("labels", "turned"):
        with pytest.raises(ConfigError, match="was turned after it was drawn"):
            made_by(split, run, tmp_path / name, train)


def test_another_sampler_is_refused(folders: Path, tmp_path: Path) -> None:
    pipeline.train(folders / "split", tmp_path / "run", RunConfig(fit=FIT, model=MF(embedding_size=4)))
    with pytest.raises(ConfigError, match=r"'uniform', expected 'mixgcf'.*--sampler mixgcf"):
        pipeline.draw_label_folder(folders / "split", tmp_path / "run", tmp_path / "labels", LabelOptions())


def test_a_run_whose_files_do_not_fit_each_other_is_refused(folders: Path, run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    stored = load_file(tmp_path / "run" / "embeddings.safetensors")
    save_file(stored | {"items": stored["items"] + 1}, tmp_path / "run" / "embeddings.safetensors")
    with pytest.raises(DataError, match=r"the items of .* are not those that its model makes"):
        pipeline.draw_label_folder(folders / "split", tmp_path / "run", tmp_path / "labels", LabelOptions())
    (tmp_path / "run" / "model.safetensors").write_bytes(b"cut")
    with pytest.raises(DataError, match=r"model.safetensors cannot be read .*train the run again"):
        pipeline.draw_label_folder(folders / "split", tmp_path / "run", tmp_path / "labels", LabelOptions())
