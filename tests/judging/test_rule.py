"""The rule against slow loops; its threshold against an exhaustive search."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hardneg.data import Interactions, Split
from hardneg.errors import ConfigError, DataError
from hardneg.judging import Calibration, JudgeInputs, PrefixRule, calibrate_rule
from hardneg.judging.calibration import hide_one_item
from hardneg.judging.judge import gather_histories
from hardneg.judging.rule import best_prefix_scores
from hardneg.random import Stream, generator
from hardneg.sampling.sampler import UniformCandidates
from hardneg.trees import PathCodes, Trees


def slow_prefix(one: str | None, other: str | None) -> tuple[int, float]:
    """Common levels, and their share of the shorter code."""
    if not one or not other:
        return 0, 0.0
    ways = one.split("-"), other.split("-")
    common = 0
    while common < min(map(len, ways)) and ways[0][common] == ways[1][common]:
        common += 1
    return common, common / min(map(len, ways))


def slow_score(codes: Trees, history: list[int], item: int, by: str) -> float:
    best = 0.0
    for tree in (codes.structural, codes.semantic):
        texts = tree.texts()
        for other in history:
            levels, share = slow_prefix(texts[item], texts[other])
            best = max(best, levels if by == "levels" else share)
    return best


@pytest.mark.parametrize("by", ["levels", "share"])
def test_scores_are_those_of_the_slow_loop(split: Split, codes: Trees, users: Any, candidates: Any, by: Any) -> None:
    result = best_prefix_scores(codes, *gather_histories(split.train, users), candidates, by)
    for row, user in enumerate(users.tolist()):
        history = split.train.items_of(user).tolist()
        for place, item in enumerate(candidates[row].tolist()):
            expected = slow_score(codes, history, item, by) if item >= 0 else 0.0
            assert result[row, place] == pytest.approx(expected)


def test_histories_are_those_of_the_users_in_their_order(split: Split) -> None:
    users = np.array([7, 11, 0, 7])
    starts, items = gather_histories(split.train, users)
    for row, user in enumerate(users.tolist()):
        assert items[starts[row] : starts[row + 1]].tolist() == split.train.items_of(user).tolist()


def test_a_hidden_item_is_one_of_the_user_s_and_the_rest_is_the_history(split: Split, rng: Any) -> None:
    users = np.flatnonzero(split.train.counts >= 2)
    hidden, starts, rest = hide_one_item(split.train, users, rng)
    for row, user in enumerate(users.tolist()):
        left = rest[starts[row] : starts[row + 1]].tolist()
        assert sorted([*left, int(hidden[row])]) == split.train.items_of(user).tolist()


@pytest.fixture(scope="module")
def clustered() -> tuple[Interactions, Trees]:
    """300 users of one branch each, with a stray item now and then; codes of that branch agree for 1 to 3 levels."""
    rng, n_items = np.random.default_rng(7), 120
    codes = [f"{item % 4}-{item % 12}-{item % 24}" for item in range(n_items)]
    pairs = []
    for user in range(300):
        branch = user % 12
        own = rng.choice(np.flatnonzero(np.arange(n_items) % 12 == branch), 5, replace=False)
        pairs += [(user, item) for item in {*own.tolist(), int(rng.integers(n_items))}]
    users, items = np.array(pairs).T
    train = Interactions.of(users, items, n_users=300, n_items=n_items)
    flat = PathCodes.of_texts(["0"] * n_items)  # uninformative: one level for all
    return train, Trees(PathCodes.of_texts(codes), flat, "made up")


@pytest.mark.parametrize("by", ["levels", "share"])
def test_half_begins_where_hidden_items_separate_best_from_others(clustered: Any, by: Any) -> None:
    train, codes = clustered
    codes = Trees(codes.structural, PathCodes.of_texts([None] * train.n_items), "made up")
    result = calibrate_rule(train, codes, by, against=5, seed=3)
    users = np.arange(300)
    hidden, starts, rest = hide_one_item(train, users, generator(3, "hidden items"))
    drawn = UniformCandidates(train).draw(users, users, n=5, stream=Stream(3, "beside hidden items", 0))
    liked = best_prefix_scores(codes, starts, rest, hidden[:, None], by).ravel()
    others = best_prefix_scores(codes, starts, rest, drawn, by).ravel()
    thresholds = np.unique(np.concatenate([liked, others]))
    youden = [(liked >= t).mean() - (others >= t).mean() for t in thresholds]
    assert result.threshold == thresholds[int(np.argmax(youden))]
    assert (np.diff(result.probability) >= 0).all()
    assert result(np.array([0.0]))[0] < 0.5 <= result(np.array([result.threshold]))[0]


@pytest.mark.parametrize("n_users", [10, 11, 49, 93])
@pytest.mark.parametrize("against", [3, 5, 7])
def test_uninformative_codes_give_no_suspects(n_users: int, against: int) -> None:
    """Equal scores, and two scores that are equally frequent in hidden and random items."""
    flat = PathCodes.of_texts(["0"] * 40)
    pairs = np.array([(user, (user + k) % 40) for user in range(n_users) for k in range(3)]).T
    train = Interactions.of(*pairs, n_users=n_users, n_items=40)
    result = calibrate_rule(train, Trees(flat, flat, "made up"), against=against)
    assert result.is_flat
    assert result(np.array([0.0, 1.0, 5.0])).max() < 0.5
    rng = np.random.default_rng(n_users)
    liked = rng.integers(5, size=n_users).astype(float)
    pooled = Calibration.isotonic(liked + 1, np.repeat(liked, against))
    assert not pooled.is_flat
    same = Calibration.isotonic(liked, np.repeat(liked, against))
    assert same.is_flat
    assert (same.probability < 0.5).all()
    assert same.threshold == np.inf


def test_a_given_threshold_has_probability_one_half(split: Split, codes: Trees, users: Any, candidates: Any) -> None:
    judge = PrefixRule(threshold=2).build(JudgeInputs(split, codes))
    result = judge.probabilities(users, candidates)
    scores = best_prefix_scores(codes, *gather_histories(split.train, users), candidates, "levels")
    there = candidates >= 0
    np.testing.assert_array_equal(result[there] >= 0.5, scores[there] >= 2)
    assert judge.name == "rule 2 levels"
    with pytest.raises(ConfigError, match=r"threshold 9.* 4"):
        PrefixRule(threshold=9).build(JudgeInputs(split, codes))
    assert Calibration.from_threshold(1.0, 1.0)(np.array([0.5, 1.0])).tolist() == [0.25, 0.5]


def test_without_two_items_per_user_a_threshold_is_required(codes: Trees) -> None:
    train = Interactions.of(np.arange(3), np.arange(3), n_users=3, n_items=40)
    with pytest.raises(DataError, match="threshold"):
        calibrate_rule(train, codes)
