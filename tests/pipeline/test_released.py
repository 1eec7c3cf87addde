"""The released mask: what it masks, that it lifts a run by itself, and that it is kept apart and marked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import Interactions
from hardneg.data import split as splits
from hardneg.errors import DataError
from hardneg.evaluation import inner_product, top_items
from hardneg.evaluation.released import released_mask
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RunConfig, SuspectsUse
from hardneg.training import FitConfig

from ..suspect_folders import write_folder

PAIRS = st.sets(st.tuples(st.integers(0, 3), st.integers(0, 5)))


def of(pairs: set[tuple[int, int]]) -> Interactions:
    users, items = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return Interactions.of(users, items, n_users=4, n_items=6)


@given(PAIRS, PAIRS, PAIRS, PAIRS)
def test_the_mask_is_train_and_what_was_added_but_held_out_pairs(
    train: set[tuple[int, int]], added: set[tuple[int, int]], valid: set[tuple[int, int]], test: set[tuple[int, int]]
) -> None:
    added -= train
    found = released_mask(of(train), of(added), of(valid), of(test))
    masked = set(zip(found.pairs.users.tolist(), found.pairs.items.tolist(), strict=True))
    assert masked == train | (added - valid - test)
    assert found.added == len(masked) - len(train)
    assert found.spared == len(added & (valid | test))


@pytest.fixture(scope="module")
def world(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """split, run, and suspects as the release has them: the run's own best candidates of test users."""
    root = tmp_path_factory.mktemp("released")
    split = folders / "split"
    pipeline.train_stage(split, RunConfig(fit=FitConfig(epochs=10, check_every=10, learning_rate=0.02))).run(
        root / "run"
    )
    run, data = pipeline.read_run(root / "run"), splits.read_split(split)
    users = np.flatnonzero(data.test.counts)
    best = top_items(inner_product(run.embeddings), users, data.train, 20)
    judged = Suspects(np.repeat(users, 20), best.ravel(), np.ones(best.size), "made up")
    return split, root / "run", write_folder(root / "suspects", split, judged)


def test_the_mask_alone_lifts_a_run_and_is_never_taken_for_the_honest_one(world: tuple[Path, Path, Path]) -> None:
    split, run, folder = world
    honest = pipeline.evaluate_run(run, split)
    before = artifacts.content_hashes(honest)
    made = pipeline.released_stage(run, split, folder).run(run / pipeline.RELEASED, replace=True)
    assert made != honest
    assert artifacts.content_hashes(honest) == before
    assert pipeline.evaluation_stage(run, split).is_finished(run / pipeline.EVALUATION)
    one, other = (pl.read_parquet(path / "metrics.parquet") for path in (honest, made))
    assert other["split"].unique().to_list() == ["test, released-dtl mask"]
    values = [frame.filter(metric="ndcg", k=20)["value"].item() for frame in (one, other)]
    assert values[1] > 1.2 * values[0]
    with pytest.raises(DataError, match="is a evaluation under the released mask folder"):
        artifacts.read_manifest(made, pipeline.EVALUATION)
    manifest = json.loads((made / "manifest.json").read_text())
    assert manifest["config"]["honest"] is False
    assert "NOT A VALID EVALUATION" in manifest["notes"]["warning"]
    data = splits.read_split(split)
    added = pipeline.read_run(run)
    assert manifest["notes"]["held-out added positives, not masked"] > 0
    assert len(added.seen) == len(data.train)


def test_it_is_made_once_and_again_for_other_suspects_or_thresholds(world: tuple[Path, Path, Path]) -> None:
    split, run, folder = world
    made = pipeline.released_stage(run, split, folder).run(run / pipeline.RELEASED, replace=True)
    assert pipeline.released_stage(run, split, folder).is_finished(run / pipeline.RELEASED)
    stamp = (made / "metrics.parquet").stat().st_mtime_ns
    assert pipeline.released_stage(run, split, folder).run(run / pipeline.RELEASED, replace=True) == made
    assert (made / "metrics.parquet").stat().st_mtime_ns == stamp
    assert not pipeline.released_stage(run, split, folder, threshold=0.9).is_finished(run / pipeline.RELEASED)


def test_the_mask_takes_the_threshold_of_the_run(world: tuple[Path, Path, Path], tmp_path: Path) -> None:
    split, _, folder = world
    config = RunConfig(fit=FitConfig(epochs=1), suspects=SuspectsUse(use="exclude", threshold=0.8))
    pipeline.train_stage(split, config, suspects=folder).run(tmp_path / "run")
    made = pipeline.released_stage(tmp_path / "run", split, folder).run(
        tmp_path / "run" / pipeline.RELEASED, replace=True
    )
    assert json.loads((made / "manifest.json").read_text())["config"]["threshold"] == 0.8
    assert pipeline.released_stage(tmp_path / "run", split, folder, threshold=0.8).is_finished(
        tmp_path / "run" / pipeline.RELEASED
    )
    assert not pipeline.released_stage(tmp_path / "run", split, folder, threshold=0.5).is_finished(
        tmp_path / "run" / pipeline.RELEASED
    )


def test_the_command_marks_it_for_people_and_for_machines(world: tuple[Path, Path, Path]) -> None:
    split, run, folder = (str(path) for path in world)
    words = ["evaluate", run, "--split", split, "--released-mask", folder]
    said = CliRunner().invoke(app, words)
    assert said.exit_code == 0, said.output
    assert said.output.startswith("NOT A VALID EVALUATION")
    assert "RELEASED MASK" in said.output
    values = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    assert values["honest"] is False
    assert values["protocol"] == "released-dtl"
    assert {entry["split"] for entry in values["metrics"]} == {"test, released-dtl mask"}
    for wrong in (
        [*words, "--mask-valid"],
        [*words[:4], "--mask-threshold", "0.5"],
        [*words, "--mask-threshold", "0"],
    ):
        refused = CliRunner().invoke(app, wrong)
        assert refused.exit_code == 2, refused.output
        assert refused.output.count("\n") == 1
