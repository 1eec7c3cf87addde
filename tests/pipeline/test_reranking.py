"""Reranked runs: what chooses the weight, what every reader of scores finds, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.edited_folders import accept_changes
from tests.suspect_folders import write_folder
from typer.testing import CliRunner

from hardneg import artifacts, pipeline
from hardneg.cli.main import app
from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.diagnostics import redraw
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import best_weight, evaluate_scores, inner_product, top_items
from hardneg.judging import RandomLabels, suspects
from hardneg.models import MF
from hardneg.pipeline import RerankConfig, RunConfig, SuspectInputs, SuspectsConfig
from hardneg.pipeline.reranking import read_judged
from hardneg.stage import Stage
from hardneg.training import FitConfig

from .test_fusion import Letters

CONFIG = RunConfig(model=MF(embedding_size=8), fit=FitConfig(epochs=4, check_every=2, learning_rate=0.02))


@pytest.fixture(scope="module")
def split(folders: Path) -> Split:
    return splits.read_split(folders / "split")


@pytest.fixture(scope="module")
def made(folders: Path, split: Split, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run/ and judged/, 20 candidates a user that a judge orders by how often other users have them."""
    root = tmp_path_factory.mktemp("made")
    pipeline.train_stage(folders / "split", CONFIG).run(root / "run")
    config = SuspectsConfig(judge=RandomLabels(rate=0.5))
    pipeline.suspects_stage(folders / "split", SuspectInputs(root / "run"), config).run(root / "random")
    rows = suspects.read_suspects(root / "random", split)
    popular = split.train.item_counts[rows.items] / split.train.item_counts.max()
    write_folder(root / "judged", folders / "split", replace(rows, probability=popular, judge="popular"))
    return root


def reranked(folders: Path, made: Path, out: Path, judged: str = "judged", **settings: object) -> Path:
    config = RerankConfig.model_validate(settings)
    return pipeline.rerank_stage(made / "run", folders / "split", made / judged, config).run(out)


def test_validation_chooses_the_weight_and_every_reader_finds_the_bonuses(
    folders: Path, made: Path, split: Split, tmp_path: Path
) -> None:
    out = reranked(folders, made, tmp_path / "out", weights=(0.0, 0.5, 3.0))
    notes = artifacts.read_manifest(out, pipeline.RUN)["notes"]
    values = {float(weight): value for weight, value in notes["on validation"].items()}
    plain, run = pipeline.read_run(made / "run"), pipeline.read_run(out)
    own = evaluate_scores(plain.score(), split.valid, split.train, metrics=("ndcg@20",)).means()["ndcg@20"]
    assert values[0] == pytest.approx(own)
    assert notes["weight"] == best_weight(values) > 0
    now = evaluate_scores(run.score(), split.valid, split.train, metrics=("ndcg@20",)).means()["ndcg@20"]
    assert now == pytest.approx(values[notes["weight"]])
    assert (notes["judged by"], notes["candidates of"]) == ("popular", "another run of the split")
    table = pl.read_parquet(out / "bonus.parquet")
    assert table.columns == ["user", "item", "bonus"]
    assert len(table) == notes["judged candidates"] == len(read_judged(made / "judged", split)[0])
    assert artifacts.file_hash(out / "embeddings.safetensors") == artifacts.file_hash(
        made / "run" / "embeddings.safetensors"
    )
    pipeline.evaluate_run(out, folders / "split")
    metrics = pl.read_parquet(out / "evaluation" / "metrics.parquet").filter(metric="ndcg", k=20)["value"].item()
    expected = evaluate_scores(run.score(), split.test, split.train, metrics=("ndcg@20",)).means()["ndcg@20"]
    assert metrics == pytest.approx(expected)
    users = np.arange(split.train.n_users)
    before, after = (top_items(one.score(), users, split.owned, 20) for one in (plain, run))
    assert (np.sort(before) == np.sort(after)).all()
    assert (before != after).any()
    name = split.vocabulary.user_ids[1]
    recommended = pipeline.recommend(out, name, 20, mask="train")
    best = top_items(run.score(), np.array([1]), split.train, 20)[0].tolist()
    assert [split.vocabulary.items[item] for item in recommended["item_id"]] == best
    config = SuspectsConfig(judge=RandomLabels(rate=0.5), candidates=5)
    pipeline.suspects_stage(folders / "split", SuspectInputs(out), config).run(tmp_path / "again")
    again = suspects.read_suspects(tmp_path / "again", split)
    assert again.items[again.users == 1].tolist() == after[1, :5].tolist()
    assert pipeline.find_evaluation(out) == out / "evaluation"


def test_the_score_of_a_judge_goes_before_its_probability(
    folders: Path, made: Path, split: Split, tmp_path: Path
) -> None:
    rows = suspects.read_suspects(made / "judged", split)
    folder = write_folder(tmp_path / "scored", folders / "split", rows)
    table = pl.read_parquet(folder / "suspects.parquet")
    raw = np.arange(len(table), dtype=float)
    raw[3] = np.nan
    table.with_columns(score=pl.Series(raw).fill_nan(None)).write_parquet(folder / "suspects.parquet")
    accept_changes(folder)
    pairs, scores = read_judged(folder, split)
    assert len(pairs) == len(table) - 1
    order = {(u, i): k for k, (u, i) in enumerate(zip(rows.users.tolist(), rows.items.tolist(), strict=True))}
    assert scores.tolist() == [order[pair] for pair in zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)]
    table.with_columns(score=pl.lit(float("inf"))).write_parquet(folder / "suspects.parquet")
    accept_changes(folder)
    with pytest.raises(DataError, match="not finite"):
        read_judged(folder, split)
    none = write_folder(tmp_path / "none", folders / "split", replace(rows, probability=np.full(len(rows), np.nan)))
    with pytest.raises(DataError, match="no labelled candidate"):
        read_judged(none, split)


def test_text_and_judge_are_combined_by_reranking_a_fused_run(folders: Path, made: Path, tmp_path: Path) -> None:
    split = folders / "split"
    pipeline.extract_profiles_stage(split).run(tmp_path / "profiles")
    pipeline.encode_texts_stage(split, tmp_path / "profiles", Letters()).run(tmp_path / "vectors")
    pipeline.fuse_stage(made / "run", split, tmp_path / "vectors").run(tmp_path / "fused")
    pipeline.rerank_stage(tmp_path / "fused", split, made / "judged").run(tmp_path / "both")
    fused, both = (pipeline.read_run(tmp_path / name) for name in ("fused", "both"))
    assert fused.bonus is None
    users = np.arange(5)
    assert (fused.score()(users) != both.score()(users)).any()
    np.testing.assert_allclose(both.score()(users).sort().values, fused.score()(users).sort().values, rtol=1e-4)
    with pytest.raises(ConfigError, match="is reranked already"):
        pipeline.rerank_stage(tmp_path / "both", split, made / "judged")
    with pytest.raises(ConfigError, match="is reranking already"):
        pipeline.fuse_stage(tmp_path / "both", split, tmp_path / "vectors")


def test_test_pairs_change_nothing(folders: Path, made: Path, split: Split, tmp_path: Path) -> None:
    Stage(splits.KIND, {}, {}, lambda draft: splits.write_split(draft, redraw(split, "test", seed=0))).run(
        tmp_path / "split"
    )
    for where, name in ((folders / "split", "one"), (tmp_path / "split", "two")):
        pipeline.rerank_stage(made / "run", where, made / "judged").run(tmp_path / name)
    assert artifacts.content_hashes(tmp_path / "one") == artifacts.content_hashes(tmp_path / "two")


def test_an_edited_bonus_is_another_run_for_its_evaluation(folders: Path, made: Path, tmp_path: Path) -> None:
    out = reranked(folders, made, tmp_path / "out")
    pipeline.evaluate_run(out, folders / "split")
    table = pl.read_parquet(out / "bonus.parquet").with_columns(bonus=-pl.col("bonus"))
    table.write_parquet(out / "bonus.parquet")
    accept_changes(out)
    with pytest.raises(DataError, match="evaluation of another run"):
        pipeline.find_evaluation(out)


def test_labels_by_held_out_pairs_and_a_shortlist_are_refused(
    folders: Path, made: Path, split: Split, tmp_path: Path
) -> None:
    rows = suspects.read_suspects(made / "judged", split)
    leaky = write_folder(tmp_path / "leaky", folders / "split", rows, {"warning": "built with held-out data"})
    with pytest.raises(ConfigError, match="built with held-out data"):
        pipeline.rerank_stage(made / "run", folders / "split", leaky)
    out = reranked(folders, made, tmp_path / "out")
    with pytest.raises(ConfigError, match="leave --shortlist out"):
        pipeline.evaluate_run(out, folders / "split", shortlist=True)


def test_the_command_says_where_a_metric_cannot_change(folders: Path, made: Path, tmp_path: Path) -> None:
    words = ["rerank", made / "run", "--split", folders / "split", "--suspects", made / "random"]
    ran = CliRunner().invoke(app, [*map(str, words), "--select", "recall@20", "--out", str(tmp_path / "out")])
    assert ran.exit_code == 0, ran.output
    assert "weight 0 (validation recall@20" in ran.stdout.replace("\n", " ")
    assert "does not change the metric" in " ".join(ran.stdout.split())
    run = pipeline.read_run(tmp_path / "out")
    assert (run.bonus.values == 0).all()
    assert artifacts.read_manifest(tmp_path / "out", pipeline.RUN)["notes"]["candidates of"] == "this run"
    users = np.arange(4)
    assert (inner_product(run.embeddings)(users) == run.score()(users)).all()
