"""Evaluation of judges on hidden train items, from a split with recorded noise."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import pytest
from tests.llm.function_model import FunctionModel

from hardneg import pipeline
from hardneg.data import split as splits
from hardneg.data.noise import NoiseConfig, read_noise
from hardneg.diagnostics import HiddenItemsConfig
from hardneg.errors import DataError
from hardneg.judging import AllPositive, JudgeConfig, PrefixRule, RandomLabels
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.protocol import Request, pack_vector
from hardneg.llm.session import Session
from hardneg.models import MF
from hardneg.pipeline import RunConfig, SuspectInputs, SuspectsConfig
from hardneg.training import FitConfig
from hardneg.trees import TreesConfig

USERS = HiddenItemsConfig(users=20, random=3, popular=2)


@pytest.fixture(scope="module")
def noisy(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split with hidden train pairs, and trees beside it."""
    out = tmp_path_factory.mktemp("noisy") / "split"
    pipeline.noise_stage(folders / "split", NoiseConfig(false_positives=0.0, hidden=0.1)).run(out)
    run = out.parent / "run"
    pipeline.train_stage(out, RunConfig(model=MF(), fit=FitConfig(epochs=2, check_every=1))).run(run)
    pipeline.trees_stage(out, TreesConfig(), run=run).run(out.parent / "trees")
    return out


def evaluated(split: Path, judge: JudgeConfig, sources: SuspectInputs, truth: Path | None = None):
    return pipeline.evaluate_judge(split, sources, SuspectsConfig(judge=judge), USERS, truth)


def test_a_rule_is_measured_and_its_candidates_are_tabulated(folders: Path, noisy: Path) -> None:
    trees = SuspectInputs(trees=noisy.parent / "trees")
    result = evaluated(noisy, PrefixRule(), trees, folders / "dataset")
    assert result.measures["against"].to_list() == ["random", "popular"]
    assert result.measures["labelled"].to_list() == [1.0, 1.0]
    assert all(0 <= auc <= 1 for auc in result.measures["auc"])
    assert result.measures["like_all"][0] is not None
    assert result.measures["like_all"][1] is None, "the truth is compared on random items"
    assert result.candidates["origin"].value_counts(sort=True).rows() == [
        ("random", 60),
        ("popular", 40),
        ("hidden", 20),
    ]
    hidden = result.candidates.filter(origin="hidden")
    vocabulary = splits.read_split(noisy).vocabulary
    users = np.array([vocabulary.users[name] for name in hidden["user_id"]])
    items = np.array([vocabulary.items[name] for name in hidden["item_id"]])
    assert read_noise(noisy).hidden.contains(users, items).all()
    assert set(result.bins["against"]) == {"random", "popular"}
    assert (result.costs.calls, result.costs.candidates) == (0, 120)


def test_judges_that_ignore_candidates_rank_like_chance(noisy: Path) -> None:
    every = evaluated(noisy, AllPositive(), SuspectInputs()).measures.row(0, named=True)
    assert (every["auc"], every["kappa"], every["yes_others"]) == (0.5, 0.0, 1.0)
    assert every["brier"] == pytest.approx(0.5)
    drawn = evaluated(noisy, RandomLabels(rate=0.5), SuspectInputs()).measures.row(0, named=True)
    assert drawn["auc"] == pytest.approx(0.5, abs=0.25)


def test_replies_are_stored_and_counted(noisy: Path, tmp_path: Path) -> None:
    """A model that names the first two candidates; a second evaluation sends nothing and measures the same."""
    calls: list[Request] = []

    def answer(request: Request) -> str:
        calls.append(request)
        return '{"positive": [1, 2]}'

    judge = JudgeConfig.find_class("titles")(kind="titles")
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        results, expected = [], None
        for _ in range(2):
            sources = SuspectInputs(session=Session(FunctionModel(answer), store))
            expected = pipeline.estimate_evaluation(noisy, sources, SuspectsConfig(judge=judge), USERS).total
            results.append(evaluated(noisy, judge, sources))
    first, second = results
    assert len(calls) == expected.calls == first.costs.calls == second.costs.calls == 20
    assert first.costs.prompt_tokens == second.costs.prompt_tokens > 0
    assert first.costs.seconds is not None
    assert second.costs.seconds is None, "stored replies take no time that says anything"
    assert first.measures.equals(second.measures)
    yes = first.candidates["probability"].sum()
    assert yes == 40


def test_scores_rank_where_a_judge_has_them(noisy: Path, tmp_path: Path) -> None:
    """Probabilities of a calibration are tied, scores are not."""

    def answer(request: Request) -> str:
        return pack_vector(-1 - np.array([zlib.crc32(text.encode()) % 997 / 997 for text in request.continuations]))

    judge = JudgeConfig.find_class("likelihood")(kind="likelihood", calibration_users=30, normalize=False)
    with ReplyStore(tmp_path / "replies.sqlite") as store:
        result = evaluated(noisy, judge, SuspectInputs(session=Session(FunctionModel(answer), store)))
    assert result.measures["labelled"].to_list() == [1.0, 1.0]
    assert result.measures["auc"][0] == 0.5, "each title has the same log-probability with and without a history"
    assert 0 <= result.measures["brier"][0] <= 1


def test_a_split_without_a_record_is_refused(folders: Path) -> None:
    with pytest.raises(DataError, match="add-noise"):
        evaluated(folders / "split", AllPositive(), SuspectInputs())
