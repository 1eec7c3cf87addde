"""The judge by likelihood against a slow loop, with a model that is a function and with a tiny language model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.llm.tiny import make_tiny

from hardneg.data import Interactions, Split
from hardneg.errors import ConfigError, DataError
from hardneg.judging import JudgeInputs, LikelihoodJudge, TitleLikelihood
from hardneg.judging.calibration import hide_items
from hardneg.judging.judge_prompts import NO_TITLE, NO_TITLES
from hardneg.judging.likelihood import estimate_likelihood, history_prompt
from hardneg.judging.suspects import UserCandidates
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.store import ReplyStore
from hardneg.llm.names import open_model
from hardneg.llm.protocol import LlmError, Refusal, Reply, Request, Usage, embedded_text, pack_vector
from hardneg.llm.session import Session
from hardneg.random import generator


def log_likelihood(prompt: str, text: str) -> float:
    """A made-up value of prompt and text, below 0."""
    return -1.0 - (hash_of(prompt + text) % 1000) / 100


def hash_of(text: str) -> int:
    return int.from_bytes(text.encode(), "little") % 999_983


def answer(request: Request) -> Reply:
    prompt = embedded_text(request)
    return Reply(pack_vector(np.array([log_likelihood(prompt, text) for text in request.continuations])), Usage(1, 0))


def build(split: Split, session: Session, **options: Any) -> LikelihoodJudge:
    judge = TitleLikelihood(**options).build(JudgeInputs(split, None, session, session.model))
    assert isinstance(judge, LikelihoodJudge)
    return judge


def slow_history(split: Split, user: int, longest: int, hidden: int = -1) -> list[str]:
    """Titles of a history in the judge's order, without untitled items and the hidden one."""
    order = generator(0, "order of histories").permutation(split.train.n_items).tolist()
    titles = split.texts["title"].to_list()
    items = sorted(split.train.items_of(user).tolist(), key=lambda item: order[item])
    return [titles[item] for item in items if titles[item] and item != hidden][:longest]


def slow_score(split: Split, user: int, item: int, longest: int, normalize: bool, hidden: int = -1) -> float:
    history, title = slow_history(split, user, longest, hidden), split.texts["title"][item]
    if item < 0 or not history or not title:
        return np.nan
    after = log_likelihood(history_prompt(history), f" {title}")
    alone = log_likelihood(history_prompt([]), f" {title}")
    return (after - alone) / -alone if normalize else after - alone


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("longest", [2, 20])
def test_scores_are_those_of_the_slow_loop(
    split: Split, users: Any, candidates: Any, answering: Any, normalize: bool, longest: int
) -> None:
    judge = build(split, answering(answer), normalize=normalize, longest_history=longest)
    scores, probabilities = judge.judge(users, candidates)
    for row, user in enumerate(users.tolist()):
        for place, item in enumerate(candidates[row].tolist()):
            expected = slow_score(split, user, item, longest, normalize)
            np.testing.assert_allclose(scores[row, place], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.isnan(probabilities), np.isnan(scores))
    assert judge.calibration is not None
    np.testing.assert_array_equal(probabilities, np.where(np.isnan(scores), np.nan, judge.calibration(scores)))


def test_calibration_hides_the_item_from_the_history(split: Split, users: Any, candidates: Any, answering: Any) -> None:
    judge = build(split, answering(answer), against=3)
    judge.judge(users, candidates)
    hidden = hide_items(judge._titled, against=3, seed=0, owned=split.owned)
    expected = [
        [slow_score(split, user, item, 20, True, row[0]) for item in row]
        for user, row in zip(hidden.users.tolist(), hidden.candidates.tolist(), strict=True)
    ]
    liked, others = np.array(expected)[:, 0], np.array(expected)[:, 1:].ravel()
    others = others[~np.isnan(others)]
    pairs = [(a > b) + (a == b) / 2 for a in liked for b in others]
    notes = judge.calibration_notes
    assert notes["auc"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert (notes["hidden items"], notes["random items"]) == (len(liked), len(others))
    assert judge.calibration is not None
    np.testing.assert_allclose(judge.calibration.scores, np.unique([*liked, *others]), rtol=1e-5, atol=1e-6)
    scores, probability = np.array(notes["curve"]).T
    np.testing.assert_allclose(np.interp(liked, scores, probability), judge.calibration(liked))


def test_one_request_per_user_and_one_per_distinct_title(
    split: Split, users: Any, candidates: Any, answering: Any
) -> None:
    session = answering(answer)
    judge = build(split, session, calibration_users=4)
    judge.judge(users, candidates)
    alone = [request for request in session.model.requests if embedded_text(request) == history_prompt([])]
    after = [request for request in session.model.requests if embedded_text(request) != history_prompt([])]
    assert len({request.continuations for request in alone}) == len(alone) == len({r.canonical for r in alone})
    assert all(len(request.continuations) == 1 for request in alone)
    sent = (candidates >= 5).any(axis=1) & [bool(slow_history(split, user, 20)) for user in users.tolist()]
    assert len(after) == sent.sum() + 4
    assert {text for request in after for text in request.continuations} == {r.continuations[0] for r in alone}
    estimate = estimate_likelihood(judge, UserCandidates(users, candidates), session.model)
    [stage] = estimate.stages
    assert stage.calls == len(alone) + len(after)
    assert stage.prompt_tokens == sum(session.model.count_tokens(request) for request in alone + after)
    assert (stage.answer_tokens, stage.prompt_error) == (0, 0)
    before = len(session.model.requests)
    judge.judge(users, candidates)
    assert len(session.model.requests) == before  # all in the store, and the calibration is kept


def test_candidates_without_a_score_are_named(split: Split, candidates: Any, users: Any, answering: Any) -> None:
    longest = max(len(slow_history(split, user, 20)) for user in users.tolist())

    def refusing(request: Request) -> Reply | Refusal:
        if embedded_text(request).count("- Title") == longest:
            return Refusal("too long")
        return Refusal("odd title") if request.continuations == (" Title 17",) else answer(request)

    pairs = np.array([(user, item) for user in range(12) for item in split.train.items_of(user).tolist() if user > 0])
    untitled = Interactions.of(np.r_[pairs[:, 0], 0], np.r_[pairs[:, 1], 1], n_users=12, n_items=40)
    changed = Split(untitled, split.valid, split.test, split.vocabulary, split.texts, split.reviews)
    issues: list[Any] = []
    session = answering(refusing)
    judge = TitleLikelihood().build(JudgeInputs(changed, None, session, session.model, issues))
    candidates = candidates.copy()
    candidates[1] = [0, 17, 20, 21, -1]
    probabilities = judge.probabilities(users, candidates)
    reasons = {(issue.user, issue.item): issue.reason for issue in issues}
    assert len(reasons) == len(issues)
    for row, user in enumerate(users.tolist()):
        for place, item in enumerate(candidates[row].tolist()):
            assert np.isnan(probabilities[row, place]) == (item < 0 or (user, item) in reasons)
    assert {reason for (user, _), reason in reasons.items() if user == 0} <= {NO_TITLE, NO_TITLES}
    assert reasons[1, 0] == NO_TITLE
    assert "odd title" in reasons[1, 17]
    assert any("too long" in reason for reason in reasons.values())


def test_unusable_replies_end_the_run(split: Split, users: Any, candidates: Any, answering: Any) -> None:
    with pytest.raises(LlmError, match="log-probabilities; use a local model"):
        build(split, answering(lambda _: "words")).judge(users, candidates)
    with pytest.raises((DataError, LlmError), match=r"calibration|refused"):
        build(split, answering(lambda _: Refusal("no"))).judge(users, candidates)


def test_without_two_titled_items_of_a_user_nothing_is_calibrated(split: Split, answering: Any) -> None:
    train = Interactions.of(np.arange(3), np.arange(20, 23), n_users=12, n_items=40)
    alone = Split(train, split.valid, split.test, split.vocabulary, split.texts, split.reviews)
    with pytest.raises(DataError, match="two training items"):
        build(alone, answering(answer)).judge(np.arange(3), np.full((3, 1), 30))


@pytest.fixture(scope="module")
def words(split: Split) -> Split:
    """The split with titles that the tiny tokenizer divides into one to many tokens."""
    names = ("tent", "iron saucepan", "guitar with steel strings", "a warm winter jacket for long walks", "board game")
    titles = ["" if item < 5 else f"{names[item % 5]} {item}" for item in range(40)]
    texts = split.texts.with_columns(title=np.array(titles))
    return Split(split.train, split.valid, split.test, split.vocabulary, texts, split.reviews)


def check_against_a_loop(name: Path | str, split: Split, users: Any, candidates: Any, store: Path) -> float:
    """Compare scores with a loop over single titles without a cache; return the largest difference of log p."""
    model = open_model(str(name), batch_size=3)
    with ReplyStore(store) as replies:
        judge = build(split, Session(model, replies, EngineConfig()), normalize=False, calibration_users=3)
        scores, _ = judge.judge(users, candidates)
    network, prompts = model._loaded.model, model._loaded.prompts

    def slow(prompt: str, text: str) -> float:
        before, tokens = [*prompts.start_tokens, *prompts.encode_text(prompt)], prompts.encode_text(text)
        with torch.no_grad():
            logits = network(torch.tensor([before + tokens])).logits[0].float().log_softmax(-1)
        return sum(float(logits[len(before) - 1 + place, token]) for place, token in enumerate(tokens))

    largest = 0.0
    for row, place in np.argwhere(~np.isnan(scores)).tolist():
        title = f" {split.texts['title'][int(candidates[row, place])]}"
        history = history_prompt(slow_history(split, int(users[row]), 20))
        largest = max(largest, abs(scores[row, place] - slow(history, title) + slow(history_prompt([]), title)))
    return largest


def test_a_tiny_model_equals_the_loop(words: Split, users: Any, candidates: Any, tmp_path: Path) -> None:
    folder = make_tiny(tmp_path / "tiny")
    assert check_against_a_loop(folder, words, users, candidates, tmp_path / "store.sqlite") < 1e-4


@pytest.mark.slow
def test_smollm2_equals_the_loop(words: Split, users: Any, candidates: Any, tmp_path: Path) -> None:
    name = os.environ.get("HARDNEG_SMOLLM2", "smollm2-135m")
    try:
        open_model(name)
    except ConfigError as error:
        pytest.skip(f"SmolLM2-135M is not here ({error}); set HARDNEG_SMOLLM2 to its folder")
    assert check_against_a_loop(name, words, users[:4], candidates[:4], tmp_path / "store.sqlite") < 1e-4
