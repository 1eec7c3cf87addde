"""From a split to trees to a run that looks at both, and what does not fit together."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from tests.pipeline.test_transfer import Letters
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.audit import audit_run
from hardneg.cli.main import app
from hardneg.data import SplitConfig
from hardneg.errors import ConfigError
from hardneg.models import MF, AnchorConfig, LightGCN
from hardneg.pipeline import RunConfig
from hardneg.sampling import MixGCF, MultiView, Uniform
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig, trees_folder

FIT = FitConfig(epochs=2, check_every=2)
RUN = RunConfig(model=LightGCN(embedding_size=8, hops=2), sampler=MultiView(candidates=4), fit=FIT)


@pytest.fixture(scope="module")
def trees(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    pipeline.train_stage(folders / "split", RunConfig(model=MF(embedding_size=8), fit=FIT)).run(root / "mf")
    pipeline.trees_stage(folders / "split", TreesConfig(embedding_size=4), run=root / "mf").run(root / "trees")
    return root / "trees"


def test_trees_make_a_run(folders: Path, trees: Path, tmp_path: Path) -> None:
    pipeline.train_stage(folders / "split", RUN, trees=trees).run(tmp_path / "run")
    manifest = artifacts.read_manifest(tmp_path / "run", pipeline.RUN)
    assert manifest["inputs"][trees_folder.KIND] == artifacts.folder_hash(trees)
    assert manifest["notes"]["semantic tree of"] == "item embeddings of a trained run"
    measured = pl.read_parquet(tmp_path / "run" / "metrics.parquet").filter(split="negatives")
    assert len(measured) == 2 * 4
    pipeline.evaluate_run(tmp_path / "run", folders / "split")


def test_without_weights_it_is_the_run_of_mixgcf_bit_for_bit(folders: Path, tmp_path: Path) -> None:
    for name, sampler in (("one", MultiView(candidates=4, alpha_c=0, alpha_s=0)), ("two", MixGCF(candidates=4))):
        pipeline.train_stage(folders / "split", RUN.model_copy(update={"sampler": sampler})).run(tmp_path / name)
    for name in ("model.safetensors", "embeddings.safetensors", "metrics.parquet", "examples.parquet"):
        assert artifacts.file_hash(tmp_path / "one" / name) == artifacts.file_hash(tmp_path / "two" / name)


def test_other_trees_are_another_run(folders: Path, trees: Path) -> None:
    keys = {pipeline.train_stage(folders / "split", RUN, trees=given).key() for given in (None, trees)}
    assert len(keys) == 2


def test_a_run_with_trees_and_an_anchor_can_be_audited(folders: Path, trees: Path, tmp_path: Path) -> None:
    split, vectors = folders / "split", tmp_path / "vectors"
    pipeline.extract_profiles_stage(split).run(tmp_path / "profiles")
    pipeline.encode_texts_stage(split, tmp_path / "profiles", Letters()).run(vectors)
    config = RUN.model_copy(update={"anchor": AnchorConfig()})
    pipeline.train_stage(split, config, trees=trees, vectors=vectors).run(tmp_path / "run")
    words = ["audit", "run", tmp_path / "run", "--split", split, "--trees", trees, "--vectors", vectors, "--json"]
    said = CliRunner().invoke(app, list(map(str, words)))
    assert said.exit_code == 0, said.output
    checks = {check["question"]: check["passed"] for check in json.loads(said.stdout)}
    assert checks["the run was trained with this trees folder"]
    assert checks["the run was trained with this vectors folder"]
    pipeline.control_trees_stage(split, trees, "random").run(tmp_path / "other")
    others = audit_run(tmp_path / "run", split, None, trees=tmp_path / "other", vectors=vectors)
    losses = "the first epochs, repeated from the stated settings and train pairs, have the recorded losses"
    assert {check.question for check in others if not check.passed} == {
        "the run was trained with this trees folder",
        losses,
    }
    with pytest.raises(ConfigError, match="was trained with trees, found none"):
        audit_run(tmp_path / "run", split, None, vectors=vectors)
    with pytest.raises(ConfigError, match="was trained without suspects, found"):
        audit_run(tmp_path / "run", split, None, tmp_path / "suspects", trees=trees, vectors=vectors)


def test_what_does_not_fit_is_refused(folders: Path, trees: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'multi-view' found no trees.*hardneg trees"):
        pipeline.train_stage(folders / "split", RUN).run(tmp_path / "run")
    uniform = RUN.model_copy(update={"sampler": Uniform()})
    with pytest.raises(ConfigError, match="sampler 'uniform' reads no trees, found"):
        pipeline.train_stage(folders / "split", uniform, trees=trees).run(tmp_path / "run")
    pipeline.split_stage(folders / "dataset", SplitConfig(train=0.7, valid=0.1, test=0.2, seed=9)).run(
        tmp_path / "other"
    )
    with pytest.raises(ConfigError, match="was made from another split"):
        pipeline.train_stage(tmp_path / "other", RUN, trees=trees).run(tmp_path / "run")
