"""From a trained MixGCF to vectors that a tuned language model wrote, and back into training."""

from __future__ import annotations

import json
import os
import runpy
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors import safe_open
from tests.finetuning.tiny import make_base
from typer.testing import CliRunner

from hardneg import pipeline
from hardneg.artifacts import CHECKPOINT, content_hashes
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.finetuning import SynthesisConfig, base_model

SMALL = ("tuning.epochs=1", "tuning.batch_size=64", "tuning.pairs=256", "model.rank=4", "template.profile_tokens=24")


FIT_ON = {
    "tuned": "which the first folder was tuned on",
    "fresh": "neither tuned on nor held out",
    "all": "not held out, tuned on or not",
}


def hardneg(*words: object) -> dict[str, object]:
    found = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert found.exit_code == 0, found.output
    return json.loads(found.stdout)


@pytest.fixture(scope="module")
def made(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Profiles, a MixGCF run, labels, a tuned tiny encoder, and what it wrote."""
    out, split = tmp_path_factory.mktemp("tuned"), folders / "split"
    make_base(out / "base", "bert")
    hardneg("profiles", "write", split, "--out", out / "profiles")
    hardneg("train", split, "--model", "mf", "--sampler", "mixgcf", "--epochs", 2, "--out", out / "run")
    hardneg("finetune", "label", split, out / "run", "--out", out / "labels")
    given = ("--profiles", out / "profiles", "--labels", out / "labels", "--base", out / "base")
    options = [word for setting in SMALL for word in ("--set", setting)]
    hardneg("finetune", "train", split, *given, *options, "--out", out / "tuned")
    hardneg("finetune", "synthesize", split, *given, "--tuned", out / "tuned", "--out", out / "written")
    return out


def test_every_pair_has_a_vector_and_a_model_trains_on_them(folders: Path, made: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
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

    inputs = (folders / "split", made / "profiles", made / "labels", made / "tuned")
    config, source = SynthesisConfig(shard_rows=200), base_model(str(made / "base"))
    with pytest.raises(KeyboardInterrupt):
        pipeline.synthesize_stage(*inputs, source, config, stop).run(tmp_path / "written")
    assert not (tmp_path / "written").exists()
    pipeline.synthesize_stage(*inputs, source, config).run(tmp_path / "written")
    assert content_hashes(tmp_path / "written")["embeddings.npy"] == content_hashes(made / "written")["embeddings.npy"]


def kill_in_the_middle(words: tuple[object, ...], out: Path, is_begun: Callable[[Path], bool]) -> Path:
    """Run a command as a process, SIGKILL it as soon as it has begun to leave work behind; return where that lies."""
    command = [sys.executable, "-m", "hardneg.cli.main", *map(str, words), "--out", str(out)]
    process = subprocess.Popen(
        command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # A busy machine may take minutes to start a process; the loop ends as soon as there is work to lose.
    deadline = time.monotonic() + 300
    try:
        while time.monotonic() < deadline and process.poll() is None:
            growing = list(out.parent.glob(f".{out.name}.*.partial"))
            if growing and is_begun(growing[0]):
                break
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL
    assert not out.exists()
    return next(out.parent.glob(f".{out.name}.*.partial"))


@pytest.mark.slow
def test_tuning_killed_by_sigkill_and_called_again_leaves_the_files_of_an_unbroken_run(
    folders: Path, made: Path, tmp_path: Path
) -> None:
    settings = ("tuning.epochs=8", "tuning.pairs=96", "tuning.batch_size=16", "tuning.look_every=10")
    settings += ("tuning.checkpoint_every=1", "tuning.patience=100", *SMALL[3:])
    options = [word for setting in settings for word in ("--set", setting)]
    given = ("--profiles", made / "profiles", "--labels", made / "labels", "--base", made / "base", *options)
    words = ("finetune", "train", folders / "split", *given)
    whole = hardneg(*words, "--out", tmp_path / "whole")
    growing = kill_in_the_middle(words, tmp_path / "killed", lambda folder: (folder / CHECKPOINT).is_file())
    with safe_open(growing / CHECKPOINT, framework="pt") as file:
        step = json.loads(file.metadata()["saved"])["state"]["iteration"]
    assert 0 < step < whole["steps"]
    hardneg(*words, "--out", tmp_path / "killed")
    assert content_hashes(tmp_path / "killed") == content_hashes(tmp_path / "whole")
    assert {"adapter_model.safetensors", "metrics.parquet"} <= set(content_hashes(tmp_path / "killed"))
    assert not list(tmp_path.glob(".killed.*"))


@pytest.mark.slow
def test_synthesis_killed_by_sigkill_and_called_again_leaves_the_files_of_an_unbroken_run(
    folders: Path, made: Path, tmp_path: Path
) -> None:
    given = ("--profiles", made / "profiles", "--labels", made / "labels", "--base", made / "base")
    words = ("finetune", "synthesize", folders / "split", *given, "--tuned", made / "tuned")
    words += ("--set", "shard_rows=20")
    hardneg(*words, "--out", tmp_path / "whole")
    growing = kill_in_the_middle(words, tmp_path / "killed", lambda folder: (folder / "shards/000000.npy").is_file())
    done = list((growing / "shards").glob("[0-9]*.npy"))
    assert 0 < len(done) * 20 < len(splits.read_split(folders / "split").train) / 2
    hardneg(*words, "--out", tmp_path / "killed")
    assert content_hashes(tmp_path / "killed") == content_hashes(tmp_path / "whole")
    assert "embeddings.npy" in content_hashes(tmp_path / "killed")
    assert not list(tmp_path.glob(".killed.*"))


def test_another_base_is_refused(folders: Path, made: Path, tmp_path: Path) -> None:
    inputs = (folders / "split", made / "profiles", made / "labels", made / "tuned")
    make_base(tmp_path / "other", "llama")
    with pytest.raises(ConfigError, match="was tuned on base"):
        pipeline.synthesize_stage(*inputs, base_model(str(tmp_path / "other")), SynthesisConfig()).run(
            tmp_path / "written"
        )


def vectors_in(folder: Path) -> np.ndarray:
    return np.load(folder / "embeddings.npy").astype(np.float32)


def test_controls_have_a_door(folders: Path, made: Path, tmp_path: Path) -> None:
    split, labels = folders / "split", ("--labels", made / "labels")
    data = splits.read_split(split)
    hardneg("negatives", "control", "shuffled", split, "--like", made / "written", "--out", tmp_path / "shuffled")
    shuffled, written = vectors_in(tmp_path / "shuffled"), vectors_in(made / "written")
    assert not np.array_equal(shuffled, written)
    np.testing.assert_array_equal(np.sort(shuffled, axis=0), np.sort(written, axis=0))
    for method in ("positive", "labels"):
        hardneg("negatives", "control", method, split, *labels, "--out", tmp_path / method)
    items, given = np.load(made / "labels" / "items.npy"), np.load(made / "labels" / "labels.npy")
    for found, raw in (("positive", items[data.train.items]), ("labels", given.astype(np.float32))):
        expected = raw / np.linalg.norm(raw, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors_in(tmp_path / found), expected, atol=2e-3)


def test_no_language_model_and_an_untuned_one(folders: Path, made: Path, tmp_path: Path) -> None:
    split, labels = folders / "split", ("--labels", made / "labels")
    few = ("--set", "tuning.epochs=1", "--set", "tuning.batch_size=64", "--set", "tuning.pairs=256")
    small = ("--set", "perceptron.size=32")
    hardneg("finetune", "train", split, *labels, "--base", "none", *few, *small, "--out", tmp_path / "perceptron")
    mine = ("finetune", "synthesize", split, *labels)
    hardneg(*mine, "--base", "none", "--tuned", tmp_path / "perceptron", "--out", tmp_path / "none")
    assert vectors_in(tmp_path / "none").shape == vectors_in(made / "written").shape
    held = [pl.read_parquet(folder / "held_out.parquet") for folder in (tmp_path / "perceptron", made / "tuned")]
    assert held[0].equals(held[1]), "the same pairs are held out as for the language model"
    given = (*labels, "--profiles", made / "profiles", "--base", made / "base")
    rank = ("--set", "model.rank=4", "--set", "template.profile_tokens=24")
    found = hardneg("finetune", "train", split, *given, *few, *rank, "--untuned", "--out", tmp_path / "untuned")
    assert (found["steps"], found["best step"]) == (0, 0)
    made_of = hardneg(*mine, *given[2:], "--tuned", tmp_path / "untuned", "--out", tmp_path / "written")
    assert "untuned base" in str(made_of["source"])
    assert not np.array_equal(vectors_in(tmp_path / "written"), vectors_in(made / "written"))


def test_settings_that_mean_nothing_to_the_base_are_refused(folders: Path, made: Path, tmp_path: Path) -> None:
    words = [
        "finetune",
        "train",
        str(folders / "split"),
        "--labels",
        str(made / "labels"),
        "--out",
        str(tmp_path / "tuned"),
    ]
    for more, said in (
        (("--base", "none", "--set", "model.rank=4"), "model is set, but does not apply to base 'none'"),
        (("--base", str(made / "base")), "reads profiles, but none are given"),
    ):
        found = CliRunner().invoke(app, [*words, *more])
        assert found.exit_code == 2
        assert said in " ".join(found.output.split())


def test_shuffled_titles_are_told_from_real_ones(folders: Path, made: Path, tmp_path: Path) -> None:
    hardneg("profiles", "write", folders / "split", "--shuffle-titles", 3, "--out", tmp_path / "shuffled")
    real, shuffled = (json.loads((f / "manifest.json").read_text()) for f in (made / "profiles", tmp_path / "shuffled"))
    assert shuffled["notes"]["source"] == "extractive, titles shuffled among items (seed 3)"
    assert real["key"] != shuffled["key"]
    with pytest.raises(ConfigError, match="already holds something else"):
        pipeline.extract_profiles_stage(folders / "split").run(tmp_path / "shuffled")


@pytest.mark.parametrize(("fresh", "fit_on"), [(True, "tuned"), (False, "fresh"), (False, "all")])
def test_the_study_of_label_maps_prints_a_row_for_each_kind_of_vectors(
    folders: Path,
    made: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fresh: bool,
    fit_on: str,
) -> None:
    script = Path(__file__).parents[2] / "reproduction" / "label_map.py"
    words = [folders / "split", made / "labels", made / "tuned", f"tuned={made / 'written'}", "--out", tmp_path / "map"]
    words += ["--alternatives", 50, *(["--run", made / "run"] if fresh else [])]
    words += [] if fit_on == "tuned" else ["--fit-on", fit_on]
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, words)])
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    table = pl.read_parquet(tmp_path / "map.parquet").rows_by_key("vectors", unique=True, named=True)
    assert list(table) == [
        "mean label",
        "the positive's embedding e_v",
        "ridge on [e_u, e_v]",
        "tuned",
        "[e_u, e_v, tuned]",
    ]
    assert table["mean label"]["r2"] == pytest.approx(0, abs=1e-9)
    assert table["the positive's embedding e_v"]["r2"] > 0.15
    assert ("fresh draws" if fresh else "stored labels") in said
    n = {name: len(pl.read_parquet(made / "tuned" / f"{name}.parquet")) for name in ("tuned_on", "held_out")}
    others = len(splits.read_split(folders / "split").train) - sum(n.values())
    fitted = {"tuned": n["tuned_on"], "fresh": others, "all": n["tuned_on"] + others}[fit_on]
    assert f"{fitted:,} pairs fitted on ({FIT_ON[fit_on]})" in said
    assert said.splitlines()[0] == (tmp_path / "map.md").read_text().splitlines()[0]
