"""Candidates and measures of an evaluation of judges, against slow loops."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import brier_score_loss, cohen_kappa_score

from hardneg.data import Interactions, Split
from hardneg.data.noise import NoiseConfig, make_noisy_split
from hardneg.data.split import Vocabulary
from hardneg.data.truth import Truth
from hardneg.diagnostics import HiddenItemsConfig, judge_quality
from hardneg.diagnostics.judge_quality import (
    HIDDEN,
    POPULAR,
    RANDOM,
    draw_candidates,
    label_measures,
    rank_measures,
    reliability_bins,
    share_ranked_right,
    truth_measures,
)
from hardneg.errors import DataError

CONFIG = HiddenItemsConfig(users=30, random=4, popular=3)


@pytest.fixture(scope="module")
def noisy(store: tuple[Split, Truth]) -> tuple[Split, Interactions]:
    split, noise = make_noisy_split(store[0], NoiseConfig(false_positives=0.0, hidden=0.2))
    return split, noise.hidden


@pytest.fixture
def judged(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of 40 users with ties and missing values, and origins."""
    origins = np.tile([RANDOM, HIDDEN, POPULAR, RANDOM, POPULAR], (40, 1))
    origins[3, 0] = -1
    probabilities = np.round(rng.random(origins.shape), 1)
    probabilities[rng.random(origins.shape) < 0.1] = np.nan
    probabilities[3, 0] = np.nan
    return probabilities, origins


def test_each_user_has_one_hidden_item_and_unobserved_ones(noisy: tuple[Split, Interactions]) -> None:
    split, hidden = noisy
    drawn = draw_candidates(split, hidden, CONFIG)
    assert drawn.candidates.items.shape == (30, 8)
    assert (np.sort(drawn.origins, axis=1) == [HIDDEN] + [RANDOM] * 4 + [POPULAR] * 3).all()
    users = drawn.candidates.users[:, None]
    is_hidden = drawn.origins == HIDDEN
    assert (hidden.contains(users, drawn.candidates.items) == is_hidden).all()
    assert not split.train.contains(users, drawn.candidates.items).any()
    assert len({tuple(row) for row in drawn.origins.tolist()}) > 5, "the order says nothing"


def test_more_users_contain_fewer_and_a_seed_draws_others(noisy: tuple[Split, Interactions]) -> None:
    many, few = (draw_candidates(*noisy, CONFIG.model_copy(update={"users": n})) for n in (30, 10))
    rows = np.isin(many.candidates.users, few.candidates.users)
    assert (many.candidates.items[rows] == few.candidates.items).all()
    other = draw_candidates(*noisy, CONFIG.model_copy(update={"seed": 1}))
    assert not np.array_equal(other.candidates.users, many.candidates.users)


def test_popular_items_have_more_train_pairs(noisy: tuple[Split, Interactions]) -> None:
    drawn = draw_candidates(*noisy, HiddenItemsConfig(users=1000, random=20, popular=20))
    counts = noisy[0].train.item_counts[drawn.candidates.items]
    weights = noisy[0].train.item_counts
    expected = {RANDOM: weights.mean(), POPULAR: (weights**2).sum() / weights.sum()}
    for kind, mean in expected.items():
        assert counts[drawn.origins == kind].mean() == pytest.approx(mean, rel=0.15)


def test_a_user_with_few_items_left_has_padding(seen: Interactions) -> None:
    """User 5 lacks item 3 alone, which is hidden."""
    hidden = Interactions.of(np.array([5]), np.array([3]), n_users=6, n_items=12)
    made = _split_of(seen)
    drawn = draw_candidates(made, hidden, CONFIG)
    assert drawn.candidates.users.tolist() == [5]
    assert sorted(drawn.candidates.items[0].tolist()) == [-1] * 7 + [3]
    assert ((drawn.origins == -1) == (drawn.candidates.items == -1)).all()
    with pytest.raises(DataError, match="add-noise"):
        draw_candidates(made, replace(hidden, users=hidden.users[:0], items=hidden.items[:0]), CONFIG)


def test_shares_ranked_right_equal_a_loop(judged: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, origins = judged
    for kind in (RANDOM, POPULAR):
        slow = []
        for row, kinds in zip(probabilities, origins, strict=True):
            own = row[kinds == HIDDEN][0]
            others = [value for value in row[kinds == kind] if not np.isnan(value)]
            points = [1.0 if value < own else 0.5 if value == own else 0.0 for value in others]
            slow.append(np.mean(points) if points and not np.isnan(own) else np.nan)
        np.testing.assert_allclose(share_ranked_right(probabilities, origins, kind), slow)
        found = rank_measures(probabilities, origins, kind)
        assert found["auc"] == pytest.approx(np.nanmean(slow))
        assert found["auc_se"] == pytest.approx(np.nanstd(slow, ddof=1) / np.sqrt(np.isfinite(slow).sum()))
        pairs = [
            1.0 if a > b else 0.5 if a == b else 0.0
            for a in probabilities[(origins == HIDDEN) & ~np.isnan(probabilities)]
            for b in probabilities[(origins == kind) & ~np.isnan(probabilities)]
        ]
        assert found["auc_pooled"] == pytest.approx(np.mean(pairs))


def test_labels_and_probabilities_are_measured_with_equal_weights(judged: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, origins = judged
    found = label_measures(probabilities, origins, RANDOM)
    chosen = np.isin(origins, (HIDDEN, RANDOM)) & ~np.isnan(probabilities)
    p, is_hidden = probabilities[chosen], origins[chosen] == HIDDEN
    weights = np.where(is_hidden, 1 / is_hidden.sum(), 1 / (~is_hidden).sum())
    assert found["kappa"] == pytest.approx(cohen_kappa_score(is_hidden, p >= 0.5, sample_weight=weights))
    assert found["brier"] == pytest.approx(brier_score_loss(is_hidden, p, sample_weight=weights))
    bins = reliability_bins(probabilities, origins, RANDOM)
    assert bins["weight"].sum() == pytest.approx(1)
    gap = 0.0
    for n in range(10):
        inside = (p >= n / 10) & ((p < (n + 1) / 10) | (n == 9))
        if inside.any():
            share, mean = (np.average(values[inside], weights=weights[inside]) for values in (is_hidden, p))
            gap += abs(share - mean) * weights[inside].sum() / weights.sum()
    assert found["ece"] == pytest.approx(gap, abs=1e-9)


def test_a_judge_without_labels_has_no_measures(judged: tuple[np.ndarray, np.ndarray]) -> None:
    nothing = np.full_like(judged[0], np.nan)
    assert set(label_measures(nothing, judged[1], RANDOM).values()) == {None}
    assert set(rank_measures(nothing, judged[1], RANDOM).values()) == {None}
    assert set(truth_measures(nothing, nothing, judged[1]).values()) == {None}


def test_a_judge_that_knows_the_truth_agrees_with_it(
    noisy: tuple[Split, Interactions], store: tuple[Split, Truth]
) -> None:
    drawn = draw_candidates(*noisy, CONFIG)
    likes = store[1].like_probability(drawn.candidates.users[:, None], drawn.candidates.items)
    best = truth_measures(likes.astype(float), likes, drawn.origins)
    assert best["spearman"] == pytest.approx(1)
    assert best["squared_error"] == pytest.approx(0, abs=1e-9)
    assert best["like_all"] is not None
    assert best["like_yes"] is None or best["like_yes"] > best["like_all"]
    constant = truth_measures(np.full(likes.shape, 0.9), likes, drawn.origins)
    assert constant["spearman"] is None
    assert constant["like_yes"] == constant["like_all"]
    auc = rank_measures(likes.astype(float), drawn.origins, RANDOM)["auc"]
    assert auc is not None
    assert auc > 0.6
    assert judge_quality.ORIGINS[RANDOM] == "random"


def _split_of(train: Interactions) -> Split:
    none = replace(train, users=train.users[:0], items=train.items[:0])
    vocabulary = Vocabulary([f"u{user}" for user in range(6)], [f"i{item}" for item in range(12)])
    texts = pl.DataFrame({"item_id": vocabulary.item_ids, "title": [""] * 12})
    return Split(train, none, none, vocabulary, texts, pl.DataFrame())
