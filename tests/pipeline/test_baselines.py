"""Runs by baselines: evaluated, recommended, fused, exported and audited like any run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.pipeline.test_fusion import Letters

from hardneg import artifacts, pipeline
from hardneg.audit.recompute import NO_ORIGIN, Sources, stage_of
from hardneg.audit.runs import audit_run
from hardneg.data import split as splits
from hardneg.errors import ConfigError
from hardneg.evaluation import evaluate_scores, inner_product
from hardneg.models import ALS, EASE, BaselineConfig, ItemItem, ItemKNN, Popular
from hardneg.pipeline import BaselineRunConfig, FusionConfig
from hardneg.pipeline.exports import export_stage
from hardneg.pipeline.similar_items import find_similar_items

BASELINES = [Popular(), ItemKNN(neighbours=20), EASE(l2=20), ALS(embedding_size=8, iterations=3)]


@pytest.fixture(scope="module", params=BASELINES, ids=lambda baseline: baseline.kind)
def baseline(request: pytest.FixtureRequest) -> BaselineConfig:
    return request.param


@pytest.fixture(scope="module")
def run(baseline: BaselineConfig, folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = BaselineRunConfig(baseline=baseline, select="ndcg@20", seed=2)
    return pipeline.baseline_stage(folders / "split", config).run(tmp_path_factory.mktemp("runs") / baseline.kind)


@pytest.fixture(scope="module")
def vectors(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("vectors")
    pipeline.extract_profiles_stage(folders / "split").run(root / "profiles")
    return pipeline.encode_texts_stage(folders / "split", root / "profiles", Letters()).run(root / "vectors")


def test_a_stored_run_has_the_scores_of_its_baseline(run: Path, baseline: BaselineConfig, folders: Path) -> None:
    split = splits.read_split(folders / "split")
    fitted = baseline.fit(split.train, seed=2)
    by_items = None if fitted.weights is None else ItemItem(split.train, fitted.weights)
    score, users = inner_product(fitted.embeddings, by_items=by_items), np.arange(split.train.n_users)
    np.testing.assert_array_equal(pipeline.read_run(run).score()(users).numpy(), score(users).numpy())
    pipeline.evaluate_run(run, folders / "split")
    known = evaluate_scores(score, split.test, split.train, metrics=("ndcg@20",)).values["ndcg@20"]
    np.testing.assert_array_equal(pl.read_parquet(run / "evaluation" / "per_user.parquet")["ndcg@20"], known)
    of_valid = evaluate_scores(score, split.valid, split.train, metrics=("ndcg@20",)).means()["ndcg@20"]
    assert pl.read_parquet(run / "metrics.parquet")["value"].to_list() == [pytest.approx(of_valid)]


def test_it_recommends_and_passes_the_audit(run: Path, folders: Path) -> None:
    split = splits.read_split(folders / "split")
    table = pipeline.recommend(run, [split.vocabulary.user_ids[0]], 5)
    assert len(table) == 5
    checks = audit_run(run, folders / "split")
    assert [check for check in checks if not check.passed] == []
    again = stage_of(run, Sources(folders / "split", folders / "split", NO_ORIGIN))
    assert again.key() == artifacts.key_at(run)


def test_late_fusion_adds_the_texts_to_its_scores(run: Path, folders: Path, vectors: Path, tmp_path: Path) -> None:
    users = np.arange(20)
    scores = []
    for weight in (0.0, 2.0):
        config = FusionConfig(weights=(weight,))
        fused = pipeline.fuse_stage(run, folders / "split", vectors, config).run(tmp_path / f"fused-{weight}")
        scores.append(pipeline.read_run(fused).score()(users).numpy())
    text = pipeline.text_only_stage(folders / "split", vectors).run(tmp_path / "text")
    own, cosines = (pipeline.read_run(folder).score()(users).numpy() for folder in (run, text))
    np.testing.assert_allclose(scores[0], own, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores[1], own + 2 * cosines, rtol=1e-4, atol=1e-5)
    with pytest.raises(ConfigError, match="late fusion already"):
        pipeline.fuse_stage(fused, folders / "split", vectors)


def test_a_bundle_has_the_same_recommendations(run: Path, folders: Path, tmp_path: Path) -> None:
    bundle = export_stage(run, "bundle", folders / "split").run(tmp_path / "bundle")
    user = splits.read_split(folders / "split").vocabulary.user_ids[3]
    assert pipeline.recommend(bundle, user, 5).equals(pipeline.recommend(run, user, 5))


def test_an_item_item_model_has_no_embeddings(folders: Path, tmp_path: Path) -> None:
    config = BaselineRunConfig(baseline=ItemKNN())
    run = pipeline.baseline_stage(folders / "split", config).run(tmp_path / "knn")
    item = splits.read_split(folders / "split").vocabulary.item_ids[0]
    with pytest.raises(ConfigError, match="item-item model"):
        find_similar_items(run, item, 3)
    with pytest.raises(ConfigError, match="item-item model"):
        export_stage(run, "safetensors", folders / "split").run(tmp_path / "export")
    with pytest.raises(ConfigError, match="shortlist"):
        pipeline.read_run(run).score(shortlist=True)


def test_equal_settings_have_one_key_and_others_another(folders: Path) -> None:
    configs = [BaselineRunConfig(baseline=EASE(l2=l2), seed=seed) for l2, seed in ((1, 0), (1, 0), (2, 0), (1, 1))]
    keys = [pipeline.baseline_stage(folders / "split", config).key() for config in configs]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_the_seed_matters_to_als_alone(folders: Path, tmp_path: Path) -> None:
    for baseline in (ItemKNN(), ALS(embedding_size=8, iterations=2)):
        hashes = set()
        for seed in (0, 1):
            config = BaselineRunConfig(baseline=baseline, seed=seed)
            run = pipeline.baseline_stage(folders / "split", config).run(tmp_path / f"{baseline.kind}-{seed}")
            hashes.add(artifacts.folder_hash(run, pipeline.inference.SCORES))
        assert len(hashes) == (2 if baseline.kind == "als" else 1)
