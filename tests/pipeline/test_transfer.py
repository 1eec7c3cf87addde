"""One model tuned on several sets, writing for a set that it never saw; the ways to bring spaces together."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from diagnostics.rotated_labels import rotate_labels_stage
from safetensors.numpy import load_file
from tests.conftest import SMALL
from tests.finetuning.tiny import make_base
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.data.noise import NoiseConfig
from hardneg.errors import ConfigError, DataError
from hardneg.finetuning import SynthesisConfig, base_model
from hardneg.mining import LabelOptions, labels
from hardneg.mining.labels import mean_cosine
from hardneg.models import MF, AnchorConfig
from hardneg.pipeline import FinetuneConfig, RunConfig, TuningSet
from hardneg.pipeline.text import text_projection
from hardneg.sampling import MixGCF
from hardneg.stage import Stage
from hardneg.training import FitConfig

RUN = RunConfig(model=MF(embedding_size=8), sampler=MixGCF(candidates=4), fit=FitConfig(epochs=5, check_every=5))
TUNING: dict[str, object] = {
    "tuning": {"epochs": 1, "batch_size": 32, "micro_batch": 32},
    "model": {"rank": 4},
    "template": {"profile_tokens": 12},
}
CONFIG = FinetuneConfig.model_validate(TUNING)


class Letters:
    """An encoder for tests: how often each of 26 letters comes."""

    name, identity = "letters", "1"

    def encode(self, texts: list[str], progress: object = None) -> np.ndarray:
        counts = np.array([[text.lower().count(chr(97 + i)) for i in range(26)] for text in texts], np.float32)
        with np.errstate(invalid="ignore"):
            return counts / np.linalg.norm(counts, axis=1, keepdims=True)


def prepared(split: Path, out: Path) -> TuningSet:
    pipeline.extract_profiles_stage(split).run(out / "profiles")
    pipeline.encode_texts_stage(split, out / "profiles", Letters()).run(out / "vectors")
    pipeline.train_stage(split, RUN).run(out / "run")
    pipeline.labels_stage(split, out / "run", LabelOptions(), onto=out / "vectors").run(out / "labels")
    return TuningSet(split, out / "profiles", out / "labels")


@pytest.fixture(scope="module")
def two(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[TuningSet, TuningSet, Path]:
    """Two stores prepared alike, and a folder with a base and a model tuned on the second alone."""
    root = tmp_path_factory.mktemp("transfer")
    pipeline.simulate_stage(SMALL.model_copy(update={"seed": 5})).run(root / "other")
    pipeline.split_stage(root / "other", SplitConfig(train=0.7, valid=0.1, test=0.2)).run(root / "other-split")
    sets = prepared(folders / "split", root / "one"), prepared(root / "other-split", root / "two")
    make_base(root / "base", "bert")
    pipeline.tune_pooled_stage(sets[1:], base_model(str(root / "base")), CONFIG, pairs_each=200).run(root / "tuned")
    return *sets, root


def test_a_model_tuned_elsewhere_writes_for_a_set_that_it_never_saw(
    two: tuple[TuningSet, TuningSet, Path], tmp_path: Path
) -> None:
    one, _, root = two
    inputs = (one.split, one.profiles, one.labels, root / "tuned")
    pipeline.synthesize_stage(*inputs, base_model(str(root / "base")), SynthesisConfig()).run(tmp_path / "written")
    vectors = np.load(tmp_path / "written" / "embeddings.npy")
    assert len(vectors) == len(splits.read_split(one.split).train)
    assert np.isfinite(vectors).all()


def test_a_pool_says_what_is_in_it(two: tuple[TuningSet, TuningSet, Path], tmp_path: Path) -> None:
    one, other, root = two
    source = base_model(str(root / "base"))
    pipeline.tune_pooled_stage([one, other], source, CONFIG, pairs_each=100).run(tmp_path / "pool")
    manifest = artifacts.read_manifest(tmp_path / "pool", "tuned")
    assert manifest["config"]["pooled"] == 2
    assert {f"{what} {n}" for n in (1, 2) for what in ("training data", "dataset", "labels")} <= set(manifest["inputs"])
    before = (tmp_path / "pool" / "manifest.json").stat().st_mtime_ns
    pipeline.tune_pooled_stage([one, other], source, CONFIG, pairs_each=100).run(tmp_path / "pool")
    assert (tmp_path / "pool" / "manifest.json").stat().st_mtime_ns == before
    with pytest.raises(ConfigError, match="no dataset"):
        pipeline.tune_pooled_stage([], source, CONFIG).run(tmp_path / "none")


def test_another_split_of_the_same_data_is_refused(two: tuple[TuningSet, TuningSet, Path], tmp_path: Path) -> None:
    """Its train pairs are test pairs here."""
    _, _, root = two
    pipeline.split_stage(root / "other", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(tmp_path / "split")
    again = prepared(tmp_path / "split", tmp_path)
    inputs = (again.split, again.profiles, again.labels, root / "tuned")
    with pytest.raises(ConfigError, match="another split of the data"):
        pipeline.synthesize_stage(*inputs, base_model(str(root / "base")), SynthesisConfig()).run(tmp_path / "written")


def test_noise_in_another_split_of_the_same_data_hides_nothing(
    two: tuple[TuningSet, TuningSet, Path], tmp_path: Path
) -> None:
    """The train pairs of the pool are still test pairs here."""
    _, _, root = two
    pipeline.split_stage(root / "other", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(tmp_path / "clean")
    pipeline.noise_stage(tmp_path / "clean", NoiseConfig()).run(tmp_path / "split")
    again = prepared(tmp_path / "split", tmp_path)
    inputs = (again.split, again.profiles, again.labels, root / "tuned")
    with pytest.raises(ConfigError, match="another split of the data"):
        pipeline.synthesize_stage(*inputs, base_model(str(root / "base")), SynthesisConfig()).run(tmp_path / "written")


def test_a_split_that_does_not_say_its_dataset_is_refused(
    two: tuple[TuningSet, TuningSet, Path], folders: Path, tmp_path: Path
) -> None:
    Stage(
        splits.KIND,
        {},
        {"split": "older noise"},
        lambda draft: splits.write_split(draft, splits.read_split(folders / "split")),
    ).run(tmp_path / "split")
    one, _, root = two
    inputs = (tmp_path / "split", one.profiles, one.labels, root / "tuned")
    with pytest.raises(ConfigError, match="does not say which dataset"):
        pipeline.synthesize_stage(*inputs, base_model(str(root / "base")), SynthesisConfig()).run(tmp_path / "written")
    with pytest.raises(ConfigError, match="does not say which dataset"):
        pipeline.noise_stage(tmp_path / "split", NoiseConfig()).run(tmp_path / "noisy")


def test_labels_onto_texts_are_the_plain_ones_turned(two: tuple[TuningSet, TuningSet, Path], tmp_path: Path) -> None:
    one, _, root = two
    train = splits.read_split(one.split).train
    pipeline.labels_stage(one.split, root / "one" / "run", LabelOptions()).run(tmp_path / "plain")
    plain, turned = labels.read_labels(tmp_path / "plain", train), labels.read_labels(one.labels, train)
    np.testing.assert_allclose(turned.users @ turned.items.T, plain.users @ plain.items.T, atol=1e-5)
    ours = np.einsum("pd,pd->p", turned.vectors.astype(np.float32), turned.items[train.items])
    theirs = np.einsum("pd,pd->p", plain.vectors.astype(np.float32), plain.items[train.items])
    np.testing.assert_allclose(ours, theirs, atol=2e-3)
    places = text_projection(root / "one" / "vectors", train.n_items, 8)
    assert mean_cosine(turned.items, places) > mean_cosine(plain.items, places)
    notes = json.loads((one.labels / "manifest.json").read_text())["notes"]
    assert notes["cosine of items with their texts"] == pytest.approx(mean_cosine(turned.items, places))
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.labels_stage(one.split, root / "one" / "run", LabelOptions()).run(one.labels)


def test_labels_turned_at_random_are_the_same_within_the_set(
    two: tuple[TuningSet, TuningSet, Path], tmp_path: Path
) -> None:
    one, _, root = two
    rotate_labels_stage(one.split, one.labels, seed=3).run(tmp_path / "turned")
    train = splits.read_split(one.split).train
    plain, turned = labels.read_labels(one.labels, train), labels.read_labels(tmp_path / "turned", train)
    np.testing.assert_allclose(turned.users @ turned.items.T, plain.users @ plain.items.T, atol=1e-5)
    assert abs(turned.items - plain.items).max() > 0.1 * abs(plain.items).max()
    ours = turned.vectors.astype(np.float32) @ turned.items[0]
    np.testing.assert_allclose(ours, plain.vectors.astype(np.float32) @ plain.items[0], atol=5e-3)
    inputs = (one.split, one.profiles, tmp_path / "turned", root / "tuned")
    pipeline.synthesize_stage(*inputs, base_model(str(root / "base")), SynthesisConfig()).run(tmp_path / "written")


def test_the_map_of_texts_knows_nothing_of_the_set(two: tuple[TuningSet, TuningSet, Path]) -> None:
    root = two[2]
    places = [text_projection(root / name / "vectors", len(_texts(root / name)), 8) for name in ("one", "two")]
    texts = [_texts(root / name) for name in ("one", "two")]
    whole = np.linalg.lstsq(texts[0], places[0], rcond=None)[0]
    np.testing.assert_allclose(texts[1] @ whole, places[1], atol=2e-2 * abs(places[1]).max())
    with pytest.raises(DataError, match="the split 3"):
        text_projection(root / "one" / "vectors", 3, 8)


def _texts(folder: Path) -> np.ndarray:
    return np.load(folder / "vectors" / "items.npy")


def test_an_anchored_run_lies_nearer_to_its_texts(two: tuple[TuningSet, TuningSet, Path], tmp_path: Path) -> None:
    one, _, root = two
    vectors, found = root / "one" / "vectors", dict[str, float]()
    for weight in (0.0, 100.0):
        config = RUN.model_copy(update={"anchor": AnchorConfig(weight=weight)})
        pipeline.train_stage(one.split, config, vectors=vectors).run(tmp_path / str(weight))
        items = load_file(tmp_path / str(weight) / "embeddings.safetensors")["items"]
        found[str(weight)] = mean_cosine(items, text_projection(vectors, len(items), 8))
    items = load_file(root / "one" / "run" / "embeddings.safetensors")["items"]
    plain = mean_cosine(items, text_projection(vectors, len(items), 8))
    assert plain < found["0.0"] < found["100.0"]
    assert found["100.0"] > 0.99
    pipeline.labels_stage(one.split, tmp_path / "100.0", LabelOptions()).run(tmp_path / "labels")


def test_settings_and_vectors_of_an_anchor_come_together(
    two: tuple[TuningSet, TuningSet, Path], tmp_path: Path
) -> None:
    one, other, root = two
    with pytest.raises(ConfigError, match=r"reads no text, found .*vectors; leave it out"):
        pipeline.train_stage(one.split, RUN, vectors=root / "one" / "vectors").run(tmp_path / "run")
    anchored = RUN.model_copy(update={"anchor": AnchorConfig()})
    with pytest.raises(ConfigError, match="an anchor reads text, found no vectors folder"):
        pipeline.train_stage(one.split, anchored).run(tmp_path / "run")
    with pytest.raises(ConfigError, match="another split"):
        pipeline.train_stage(other.split, anchored, vectors=root / "one" / "vectors").run(tmp_path / "run")


def test_settings_with_and_without_an_anchor_are_read_back() -> None:
    assert RunConfig.model_validate(RUN.model_dump(mode="json")) == RUN
    anchored = RUN.model_copy(update={"anchor": AnchorConfig(weight=2)})
    assert RunConfig.model_validate(anchored.model_dump(mode="json")) == anchored


def test_the_doors(two: tuple[TuningSet, TuningSet, Path], tmp_path: Path) -> None:
    one, _, root = two
    vectors, split = str(root / "one" / "vectors"), str(one.split)
    words = ["train", split, "--model", "mf", "--set", "model.embedding_size=8", "--sampler", "mixgcf", "--epochs", "1"]
    anchored = [*words, "--vectors", vectors, "--set", "anchor.weight=0.5", "--out", str(tmp_path / "run")]
    assert CliRunner().invoke(app, anchored).exit_code == 0
    assert artifacts.read_manifest(tmp_path / "run", "run")["config"]["anchor"]["weight"] == 0.5
    onto = ["finetune", "label", split, str(tmp_path / "run"), "--onto", vectors, "--out", str(tmp_path / "labels")]
    assert CliRunner().invoke(app, onto).exit_code == 0
    assert "onto" in artifacts.read_manifest(tmp_path / "labels", labels.KIND)["inputs"]
