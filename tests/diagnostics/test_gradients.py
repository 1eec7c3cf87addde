"""The bias of negative gradients: by loop, and zero where the truth is served."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hardneg.data import Interactions, Split
from hardneg.data.truth import Truth
from hardneg.diagnostics import gradients, negative_gradient_bias
from hardneg.errors import DataError


def test_it_equals_the_slow_loop(seen: Interactions, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Truth(rng.normal(size=(6, 3)), rng.normal(size=(12, 3)), rng.normal(size=12), rng.normal(size=6))
    users, items = rng.normal(size=(6, 4)), rng.normal(size=(12, 4))
    vectors = rng.normal(size=(len(seen), 4))
    vectors[::3] = np.nan
    vectors[seen.users == 4] = np.nan
    measured = []
    for user in range(6):
        given, true, uniform, pairs = np.zeros(4), np.zeros(4), np.zeros(4), 0
        free = [item for item in range(12) if item not in seen.items_of(user)]
        weights = [1 - float(truth.like_probability(np.array(user), np.array(item))) for item in free]
        for row in np.flatnonzero(seen.users == user):
            if np.isnan(vectors[row]).any():
                continue
            pairs += 1
            positive = users[user] @ items[seen.items[row]]

            def pull(n: np.ndarray, positive: float = positive, user: int = user) -> np.ndarray:
                return n / (1 + math.exp(positive - users[user] @ n))

            given += pull(vectors[row])
            true += sum(w * pull(items[j]) for w, j in zip(weights, free, strict=True)) / sum(weights)
            uniform += sum(pull(items[j]) for j in free) / len(free)
        if pairs:
            figures = []
            for one in (given / pairs, uniform / pairs):
                expected = true / pairs
                figures.append(one @ expected / np.linalg.norm(one) / np.linalg.norm(expected))
                figures.append(np.linalg.norm(one - expected))
            measured.append([*figures, np.linalg.norm(expected)])
    *means, true_norm = np.mean(measured, axis=0)
    means = np.array(means) / [1, true_norm, 1, true_norm]
    for at_once in (2, 64):
        monkeypatch.setattr(gradients, "USERS_AT_ONCE", at_once)
        found = negative_gradient_bias(vectors, users, items, seen, truth)
        assert found.users == len(measured) == 5
        given = [found.cosine, found.relative_norm, found.uniform_cosine, found.uniform_relative_norm]
        np.testing.assert_allclose(given, means, rtol=1e-9)


def test_where_nothing_unobserved_is_liked_uniform_negatives_are_true(
    seen: Interactions, rng: np.random.Generator
) -> None:
    truth = Truth(np.zeros((6, 1)), np.zeros((12, 1)), np.zeros(12), np.full(6, 50.0))
    found = negative_gradient_bias(
        np.ones((len(seen), 4)), rng.normal(size=(6, 4)), rng.normal(size=(12, 4)), seen, truth
    )
    assert found.uniform_cosine == pytest.approx(1.0)
    assert found.uniform_relative_norm == pytest.approx(0.0, abs=1e-9)
    assert found.relative_norm > 0.1


def test_liked_items_served_as_negatives_are_the_more_biased(
    store: tuple[Split, Truth], rng: np.random.Generator
) -> None:
    """Tables that know the truth; per pair the liked-most, and one uniform, unobserved item."""
    split, truth = store
    train = split.train
    users = np.concatenate([truth.user_tastes, -truth.user_offsets[:, None], np.ones((train.n_users, 1))], axis=1) / 3
    items = np.concatenate([truth.item_traits, np.ones((train.n_items, 1)), truth.item_quality[:, None]], axis=1) / 3
    likes = np.where(train.matrix().toarray() > 0, -1.0, truth.like_probabilities(np.arange(train.n_users)))
    free = np.where(likes < 0, np.inf, 0.0)
    worst = likes.argmax(axis=1)[train.users]
    uniform = (free[train.users] + rng.random((len(train), train.n_items))).argmin(axis=1)
    hard, even = (negative_gradient_bias(items[j], users, items, train, truth) for j in (worst, uniform))
    assert hard.cosine < even.cosine
    assert hard.relative_norm > even.relative_norm > even.uniform_relative_norm > 0


def test_what_does_not_fit_is_refused(seen: Interactions) -> None:
    truth = Truth(np.zeros((6, 1)), np.zeros((12, 1)), np.zeros(12), np.zeros(6))
    tables = np.ones((6, 4)), np.ones((12, 4))
    with pytest.raises(DataError, match=r"found vectors \(3, 4\), expected"):
        negative_gradient_bias(np.ones((3, 4)), *tables, seen, truth)
    with pytest.raises(DataError, match="no user has a pair with a vector"):
        negative_gradient_bias(np.full((len(seen), 4), np.nan), *tables, seen, truth)
