"""Evaluation of a run: cut-offs are added, masks are kept apart, popularity is the reference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.cli.test_commands import run, succeed
from tests.fixed_speeds import FixedSpeeds
from tests.suspect_folders import write_folder

from hardneg import artifacts, load_run, pipeline
from hardneg.data import split as splits
from hardneg.evaluation import evaluate_scores, ranking
from hardneg.judging.suspects import Suspects
from hardneg.pipeline import RunConfig
from hardneg.speeds import SLOWER
from hardneg.stage import Draft, Stage
from hardneg.training import FitConfig


@pytest.fixture(scope="module")
def trained(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluation") / "run"
    return pipeline.train_stage(folders / "split", RunConfig(fit=FitConfig(epochs=2))).run(out)


@pytest.fixture
def made(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def values(folder: Path) -> dict[tuple[str, int], float]:
    return {(metric, k): value for _, metric, k, value in pl.read_parquet(folder / "metrics.parquet").iter_rows()}


def test_further_cut_offs_are_added(folders: Path, made: Path) -> None:
    split = folders / "split"
    whole = values(pipeline.evaluate_run(made, split, ("recall@5", "ndcg@5", "recall@30", "ndcg@30")))
    shutil.rmtree(made / "evaluation")
    pipeline.evaluate_run(made, split, ("recall@5", "ndcg@5"))
    folder = pipeline.evaluate_run(made, split, ("recall@30", "ndcg@30"))
    assert values(folder) == whole
    assert pl.read_parquet(folder / "per_user.parquet").columns[2:] == ["recall@5", "ndcg@5", "recall@30", "ndcg@30"]
    stamp = (folder / "metrics.parquet").stat().st_mtime_ns
    for known in (("ndcg@5",), ("ndcg@30", "recall@5")):
        assert pipeline.evaluation_stage(made, split, known).is_finished(folder)
        pipeline.evaluate_run(made, split, known)
    assert (folder / "metrics.parquet").stat().st_mtime_ns == stamp


def test_another_mask_has_a_folder_of_its_own(folders: Path, made: Path) -> None:
    split = folders / "split"
    train_mask = pipeline.evaluate_run(made, split)
    before = artifacts.content_hashes(train_mask)
    both = pipeline.evaluate_run(made, split, ("ndcg@5",), mask_valid=True)
    assert (train_mask.name, both.name) == ("evaluation", "evaluation-mask-valid")
    assert artifacts.content_hashes(train_mask) == before
    assert set(values(both)) == {("ndcg", 5)}
    assert artifacts.read_manifest(both, pipeline.EVALUATION)["config"]["mask"] == "train and valid"


def test_metrics_of_other_embeddings_are_not_taken_over(folders: Path, made: Path) -> None:
    pipeline.evaluate_run(made, folders / "split", ("recall@5",))
    longer = pipeline.train_stage(folders / "split", RunConfig(fit=FitConfig(epochs=3))).run(made)
    assert set(values(pipeline.evaluate_run(longer, folders / "split", ("ndcg@9",)))) == {("ndcg", 9)}


def test_the_released_mask_adds_cut_offs_too(folders: Path, made: Path, tmp_path: Path) -> None:
    data = splits.read_split(folders / "split")
    judged = Suspects(data.test.users[:5], data.test.items[:5], np.ones(5), "made up")
    suspects = write_folder(tmp_path / "suspects", folders / "split", judged)
    for depth in (5, 7):
        words = ["evaluate", made, "--split", folders / "split", "--released-mask", suspects, "-k", depth]
        assert f"ndcg@{depth}" in succeed(*words)
    assert {k for _, k in values(made / pipeline.RELEASED)} == {5, 7}


def test_popularity_is_scored_under_the_same_mask(folders: Path, made: Path) -> None:
    data = splits.read_split(folders / "split")
    counts = torch.bincount(torch.from_numpy(data.train.items), minlength=data.train.n_items).float()
    expected = evaluate_scores(
        lambda users: counts.repeat(len(users), 1), data.test, data.train, metrics=("ndcg@20",)
    ).means()
    folder = pipeline.evaluate_run(made, folders / "split")
    notes = artifacts.read_manifest(folder, pipeline.EVALUATION)["notes"]
    assert notes["popularity"] == pytest.approx(expected)


def with_items(made: Path, name: str, table: torch.Tensor) -> Path:
    """Return a copy of a run in which all users share a vector, and items have these."""
    manifest = artifacts.read_manifest(made, pipeline.RUN)

    def build(draft: Draft) -> None:
        for file in manifest["files"]:
            shutil.copyfile(made / file, draft.folder / file)
        users = torch.ones_like(load_file(made / "embeddings.safetensors")["users"])[:, :1]
        save_file({"users": users.contiguous(), "items": table}, draft.folder / "embeddings.safetensors")

    return Stage(pipeline.RUN, manifest["config"], manifest["inputs"], build).run(made.with_name(name))


def test_a_run_clearly_below_popularity_is_named(folders: Path, made: Path) -> None:
    split = folders / "split"
    counts = torch.from_numpy(splits.read_split(split).train.item_counts).float().unsqueeze(1)
    good, poor = with_items(made, "good", counts), with_items(made, "poor", -counts)
    assert "below popularity" not in run("evaluate", good, "--split", split).output
    assert "WARNING: below popularity: nDCG@20 0." in run("evaluate", poor, "--split", split).stderr
    notes = json.loads(run("evaluate", poor, "--split", split, "--json").stdout)
    assert f"against {notes['popularity']['ndcg@20']:.4f}" in notes["below popularity"]
    with pytest.warns(UserWarning, match="is below popularity: nDCG@20"):
        load_run(poor).evaluate(split)


@pytest.mark.parametrize("mask_valid", [False, True])
def test_an_evaluation_ranks_test_pairs_and_masks_what_it_says(folders: Path, made: Path, *, mask_valid: bool) -> None:
    """Against sorting all scores."""
    split, tensors = splits.read_split(folders / "split"), load_file(made / "embeddings.safetensors")
    scores = (tensors["users"] @ tensors["items"].T).numpy()
    recalls = []
    for user in np.flatnonzero(split.test.counts):
        masked = [split.train.items_of(user), split.valid.items_of(user) if mask_valid else split.valid.items[:0]]
        row = scores[user].copy()
        row[np.concatenate(masked)] = -np.inf
        recalls.append(np.isin(split.test.items_of(user), np.argsort(-row, kind="stable")[:20]).mean())
    found = values(pipeline.evaluate_run(made, folders / "split", mask_valid=mask_valid))
    assert found["recall", 20] == pytest.approx(np.mean(recalls))


def test_the_faster_ranking_is_taken_and_named_and_a_slower_one_warns(
    folders: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranking, "RANKING", FixedSpeeds({ranking.EXACT: 1.0, ranking.SHORTLIST: 3.0}))
    words = "evaluate", made, "--split", folders / "split"
    warning = "WARNING: the 16-bit shortlist takes 3.0 times as long as the exact ranking on this machine; leave it out"
    assert "WARNING" not in run(*words).output
    notes = artifacts.read_manifest(made / "evaluation", "evaluation")["notes"]
    assert notes["ranked by"] == "exact"
    assert SLOWER not in notes
    measured = values(made / "evaluation")
    assert warning in run(*words, "--shortlist").output
    assert artifacts.read_manifest(made / "evaluation", "evaluation")["notes"]["ranked by"] == "16-bit shortlist"
    assert values(made / "evaluation") == measured
    assert "WARNING" not in run(*words).output, "the finished evaluation is read"
    assert run(*words, "--exact").exit_code == 0
    assert artifacts.read_manifest(made / "evaluation", "evaluation")["notes"]["ranked by"] == "exact"
