"""Reranking against slow loops: judged items exchange scores, the others keep theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import PairBonus, center_scores, inner_product, rerank, score_pairs, top_items
from hardneg.types import Embeddings, Floats

N_USERS, N_ITEMS = 5, 14


@pytest.fixture
def embeddings(rng: np.random.Generator) -> Embeddings:
    users, items = (torch.from_numpy(rng.normal(size=(n, 4)).astype(np.float32)) for n in (N_USERS, N_ITEMS))
    return Embeddings((users,), (items,), "mean")


@pytest.fixture
def pairs(rng: np.random.Generator) -> Interactions:
    """Judged pairs of four users; user 2 has none, user 3 a single one."""
    flags = rng.random((N_USERS, N_ITEMS)) < 0.5
    flags[2], flags[3] = False, np.arange(N_ITEMS) == 6
    users, items = np.nonzero(flags)
    return Interactions(users, items, N_USERS, N_ITEMS)


def nothing() -> Interactions:
    return Interactions(np.empty(0, np.int64), np.empty(0, np.int64), N_USERS, N_ITEMS)


def slow_ranking(scores: Floats, pairs: Interactions, judged: Floats, weight: float) -> list[list[int]]:
    """Rank all items by the model; the judged ones then fill the places of the judged ones, in the order of the sum."""
    rankings = []
    for user in range(N_USERS):
        z = {int(i): judged[k] for k, (u, i) in enumerate(zip(pairs.users, pairs.items, strict=True)) if u == user}
        by_model = sorted(range(N_ITEMS), key=lambda item: (-scores[user, item], item))
        by_sum = iter(sorted(z, key=lambda item: (-(scores[user, item] + weight * z[item]), item)))
        rankings.append([next(by_sum) if item in z else item for item in by_model])
    return rankings


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0, 100.0])
def test_the_ranking_equals_the_slow_loop(
    embeddings: Embeddings, pairs: Interactions, rng: np.random.Generator, weight: float
) -> None:
    judged = center_scores(pairs, rng.normal(size=len(pairs)))
    bonus = rerank(pairs, score_pairs(embeddings, pairs), judged, weight)
    plain, score = inner_product(embeddings), inner_product(embeddings, bonus=bonus)
    users = np.array([3, 0, 1, 4, 2])
    found = top_items(score, users, nothing(), N_ITEMS)
    expected = slow_ranking(plain(np.arange(N_USERS)).numpy(), pairs, judged, weight)
    assert found.tolist() == [expected[user] for user in users]
    np.testing.assert_allclose(np.sort(score(users)), np.sort(plain(users)), atol=1e-5)
    if weight == 0:
        assert (bonus.values == 0).all()
        assert torch.equal(score(users), plain(users))


def test_recall_at_the_number_of_candidates_does_not_change(embeddings: Embeddings, rng: np.random.Generator) -> None:
    best = top_items(inner_product(embeddings), np.arange(N_USERS), nothing(), 4)
    pairs = Interactions.of(np.repeat(np.arange(N_USERS), 4), best.ravel(), n_users=N_USERS, n_items=N_ITEMS)
    bonus = rerank(pairs, score_pairs(embeddings, pairs), rng.normal(size=len(pairs)), 5.0)
    again = top_items(inner_product(embeddings, bonus=bonus), np.arange(N_USERS), nothing(), 4)
    assert (np.sort(again) == np.sort(best)).all()
    assert (again != best).any()


def test_scores_are_centred_by_user_and_scaled_by_one_number(pairs: Interactions, rng: np.random.Generator) -> None:
    scores = 3 + 5 * rng.normal(size=len(pairs))
    centred = center_scores(pairs, scores)
    assert centred.std() == pytest.approx(1)
    for user in np.unique(pairs.users):
        own = pairs.users == user
        assert centred[own].mean() == pytest.approx(0, abs=1e-12)
        expected = (scores[own] - scores[own].mean()) / (scores[own] - scores[own].mean()).std() if own.sum() > 1 else 0
        ratio = centred[own].std() / max(np.std(expected), 1e-9)
        np.testing.assert_allclose(centred[own], ratio * expected if own.sum() > 1 else 0, atol=1e-9)
    assert (center_scores(pairs, np.full(len(pairs), 0.7)) == 0).all()


def test_bonuses_that_do_not_fit_are_refused(embeddings: Embeddings, pairs: Interactions) -> None:
    with pytest.raises(DataError, match="expected a number for each"):
        PairBonus(pairs, np.zeros(3, np.float32))
    with pytest.raises(DataError, match="expected a number for each"):
        PairBonus(pairs, np.full(len(pairs), np.nan, np.float32))
    with pytest.raises(ConfigError, match="found weight -1"):
        rerank(pairs, np.zeros(len(pairs)), np.zeros(len(pairs)), -1)
    bonus = PairBonus(pairs, np.zeros(len(pairs), np.float32))
    with pytest.raises(ConfigError, match="leave --shortlist out"):
        inner_product(embeddings, shortlist=True, bonus=bonus)
