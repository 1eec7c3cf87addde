"""From a trained MixGCF to vectors that a tuned language model wrote, and back into training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.finetuning.tiny import make_base
from typer.testing import CliRunner

from hardneg import pipeline
from hardneg.artifacts import content_hashes
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.finetuning import SynthesisConfig, base

SMALL = ("tuning.epochs=1", "tuning.batch_size=64", "tuning.pairs=256", "model.rank=4", "template.profile_tokens=24")


def hardneg(*words: object) -> dict[str, object]:
    found = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def made(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles, a MixGCF run, labels, a tuned tiny encoder, and what it wrote."""
    out, split = tmp_path_factory.mktemp("tuned"), folders / "split"
    make_base(out / "base", "bert")
    hardneg("profile", split, "--out", out / "profiles")
    hardneg("train", split, "--model", "mf", "--sampler", "mixgcf", "--epochs", 2, "--out", out / "run")
    hardneg("label", split, out / "run", "--out", out / "labels")
    given = ("--profiles", out / "profiles", "--labels", out / "labels", "--base", out / "base")
    options = [word for setting in SMALL for word in ("--set", setting)]
    hardneg("finetune", split, *given, *options, "--out", out / "tuned")
    hardneg("mine", split, "--method", "synthesised", *given, "--tuned", out / "tuned", "--out", out / "written")
    return out


def test_every_pair_has_a_vector_and_a_model_trains_on_them(folders: Path, made: Path, tmp_path: Path) -> None:
    data = splits.read(folders / "split")
    vectors = np.load(made / "written" / "embeddings.npy")
    assert vectors.shape[0] == len(data.train)
    assert vectors.dtype == np.float16
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    run = ("--model", "mf", "--sampler", "semantic", "--negatives", made / "written", "--epochs", 2)
    hardneg("train", folders / "split", *run, "--out", tmp_path / "run")
    measured = pl.read_parquet(tmp_path / "run" / "metrics.parquet").filter(pl.col("split") == "negatives")
    assert "norm of e_hard" in measured["metric"].to_list()


def test_no_path_of_this_machine_stands_in_the_tuned_folder(made: Path) -> None:
    for path in (made / "tuned").iterdir():
        assert str(made).encode() not in path.read_bytes(), path


def test_killed_in_synthesis_and_called_again_it_leaves_the_same_files(
    folders: Path, made: Path, tmp_path: Path
) -> None:
    def stop(_: str, done: int, __: int) -> None:
        if done > 300:
            raise KeyboardInterrupt

    inputs = (folders / "split", made / "profiles", made / "labels", made / "tuned", tmp_path / "written")
    config, source = SynthesisConfig(shard_rows=200), base(str(made / "base"))
    with pytest.raises(KeyboardInterrupt):
        pipeline.mine_synthesised(*inputs, source, config, stop)
    assert not (tmp_path / "written").exists()
    pipeline.mine_synthesised(*inputs, source, config)
    assert content_hashes(tmp_path / "written")["embeddings.npy"] == content_hashes(made / "written")["embeddings.npy"]


def test_another_base_is_refused(folders: Path, made: Path, tmp_path: Path) -> None:
    inputs = (folders / "split", made / "profiles", made / "labels", made / "tuned", tmp_path / "written")
    make_base(tmp_path / "other", "llama")
    with pytest.raises(ConfigError, match="was tuned on base"):
        pipeline.mine_synthesised(*inputs, base(str(tmp_path / "other")), SynthesisConfig())


def vectors_in(folder: Path) -> np.ndarray:
    return np.load(folder / "embeddings.npy").astype(np.float32)


def test_controls_have_a_door(folders: Path, made: Path, tmp_path: Path) -> None:
    split, labels = folders / "split", ("--labels", made / "labels")
    data = splits.read(split)
    hardneg("mine", split, "--method", "shuffled", "--like", made / "written", "--out", tmp_path / "shuffled")
    shuffled, written = vectors_in(tmp_path / "shuffled"), vectors_in(made / "written")
    assert not np.array_equal(shuffled, written)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(written, axis=0))
    for method in ("positive", "labels"):
        hardneg("mine", split, "--method", method, *labels, "--out", tmp_path / method)
    items, given = np.load(made / "labels" / "items.npy"), np.load(made / "labels" / "labels.npy")
    for found, raw in (("positive", items[data.train.items]), ("labels", given.astype(np.float32))):
        expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors_in(tmp_path / found), expected, atol=2e-3)
    found = CliRunner().invoke(app, ["mine", str(split), "--method", "positive", "--like", str(made / "written")])
    assert found.exit_code == 2
    assert "--like is no option of --method positive" in found.output


def test_no_language_model_and_an_untuned_one(folders: Path, made: Path, tmp_path: Path) -> None:
    split, labels = folders / "split", ("--labels", made / "labels")
    few = ("--set", "tuning.epochs=1", "--set", "tuning.batch_size=64", "--set", "tuning.pairs=256")
    small = ("--set", "perceptron.size=32")
    hardneg("finetune", split, *labels, "--base", "none", *few, *small, "--out", tmp_path / "perceptron")
    mine = ("mine", split, "--method", "synthesised", *labels)
    hardneg(*mine, "--base", "none", "--tuned", tmp_path / "perceptron", "--out", tmp_path / "none")
    assert vectors_in(tmp_path / "none").shape == vectors_in(made / "written").shape
    held = [pl.read_parquet(folder / "held_out.parquet") for folder in (tmp_path / "perceptron", made / "tuned")]
    assert held[0].equals(held[1]), "the same pairs are held out as for the language model"
    given = (*labels, "--profiles", made / "profiles", "--base", made / "base")
    rank = ("--set", "model.rank=4", "--set", "template.profile_tokens=24")
    found = hardneg("finetune", split, *given, *few, *rank, "--untuned", "--out", tmp_path / "untuned")
    assert (found["steps"], found["best step"]) == (0, 0)
    made_of = hardneg(*mine, *given[2:], "--tuned", tmp_path / "untuned", "--out", tmp_path / "written")
    assert "untuned base" in str(made_of["source"])
    assert not np.array_equal(vectors_in(tmp_path / "written"), vectors_in(made / "written"))


def test_settings_that_mean_nothing_to_the_base_are_refused(folders: Path, made: Path, tmp_path: Path) -> None:
    words = ["finetune", str(folders / "split"), "--labels", str(made / "labels"), "--out", str(tmp_path / "tuned")]
    for more, said in (
        (("--base", "none", "--set", "model.rank=4"), "model is set, which means nothing to base 'none'"),
        (("--base", str(made / "base")), "reads profiles, but none are given"),
    ):
        found = CliRunner().invoke(app, [*words, *more])
        assert found.exit_code == 2
        assert said in " ".join(found.output.split())


def test_shuffled_titles_are_told_from_real_ones(folders: Path, made: Path, tmp_path: Path) -> None:
    hardneg("profile", folders / "split", "--shuffle-titles", 3, "--out", tmp_path / "shuffled")
    real, shuffled = (json.loads((f / "manifest.json").read_text()) for f in (made / "profiles", tmp_path / "shuffled"))
    assert shuffled["notes"]["source"] == "extractive, titles shuffled among items (seed 3)"
    assert real["key"] != shuffled["key"]
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.profile(folders / "split", tmp_path / "shuffled")
