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
