"""Runs by popularity, and runs refitted on every pair without validation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hardneg import artifacts, pipeline
from hardneg.audit.runs import audit_run
from hardneg.data import SplitConfig
from hardneg.data import split as splits
from hardneg.errors import DataError
from hardneg.evaluation import Popularity, evaluate_scores
from hardneg.models import MF
from hardneg.pipeline import PopularityConfig, RunConfig
from hardneg.training import FitConfig

CONFIG = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=3, check_every=2))


@pytest.fixture(scope="module")
def everything(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split with every pair in train."""
    config = SplitConfig(by="ratio", train=1, valid=0, test=0)
    return pipeline.split_stage(folders / "dataset", config).run(tmp_path_factory.mktemp("everything") / "split")


def test_scores_are_item_counts_and_the_metrics_those_of_popularity(folders: Path, tmp_path: Path) -> None:
    split = splits.read_split(folders / "split")
    run = pipeline.popularity_stage(folders / "split", PopularityConfig(select="ndcg@20")).run(tmp_path / "run")
    scores = pipeline.read_run(run).score()(np.array([0, 5])).numpy()
    counts = [int((split.train.items == item).sum()) for item in range(split.train.n_items)]
    assert scores.tolist() == [counts, counts]
    pipeline.evaluate_run(run, folders / "split")
    known = evaluate_scores(Popularity(split.train), split.test, split.train, metrics=("ndcg@20",))
    found = pl.read_parquet(run / "evaluation" / "per_user.parquet")["ndcg@20"].to_numpy()
    np.testing.assert_array_equal(found, known.values["ndcg@20"])
    curve = pl.read_parquet(run / "metrics.parquet").row(0, named=True)
    of_valid = evaluate_scores(Popularity(split.train), split.valid, split.train, metrics=("ndcg@20",)).means()
    assert curve["value"] == pytest.approx(of_valid["ndcg@20"])
    assert all(check.passed for check in audit_run(run, folders / "split"))


def test_a_run_is_refitted_on_every_pair_and_keeps_its_last_epoch(everything: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="validation pairs"):
        pipeline.train_stage(everything, CONFIG).run(tmp_path / "refused")
    run = pipeline.train_stage(everything, CONFIG, validates=False).run(tmp_path / "run")
    notes = artifacts.read_manifest(run, pipeline.RUN)["notes"]
    assert (notes["best epoch"], notes["epochs"]) == (3, 3)
    assert "still rising" not in notes
    assert pl.read_parquet(run / "metrics.parquet").filter(split="valid").is_empty()
    assert all(check.passed for check in audit_run(run, everything))


def test_without_validation_nothing_else_changes(folders: Path, tmp_path: Path) -> None:
    """The last epoch of a validated run, if it is the best, has the same tensors."""
    config = CONFIG.model_copy(update={"fit": CONFIG.fit.model_copy(update={"epochs": 1, "check_every": 1})})
    runs = [
        pipeline.train_stage(folders / "split", config, validates=validates).run(tmp_path / str(validates))
        for validates in (True, False)
    ]
    one, other = ((run / "model.safetensors").read_bytes() for run in runs)
    assert one == other


def test_popularity_needs_no_validation_pairs(everything: Path, tmp_path: Path) -> None:
    run = pipeline.popularity_stage(everything).run(tmp_path / "popular")
    assert pl.read_parquet(run / "metrics.parquet").is_empty()
    assert len(pipeline.recommend(run, [splits.read_split(everything).vocabulary.user_ids[0]], 5)) == 5
