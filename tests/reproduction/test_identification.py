"""Precision and recall of suspects, against hidden positives and against the truth."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostics.identification import compare_with_pairs, compare_with_truth

from hardneg.data import Interactions, Split
from hardneg.data.noise import NoiseConfig, make_noisy_split
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.judging.suspects import Suspects


def test_comparison_with_pairs_by_hand() -> None:
    """Six candidates, one without a label; of four positives two are candidates with a label."""
    judged = Suspects(
        np.array([0, 0, 0, 1, 1, 2]),
        np.array([1, 2, 3, 0, 4, 4]),
        np.array([0.9, 0.6, 0.4, 0.5, 0.1, np.nan]),
        "made up",
    )
    positives = Interactions.of(np.array([0, 0, 2, 2]), np.array([1, 3, 4, 5]), n_users=3, n_items=6)
    found = compare_with_pairs(judged, positives)
    assert (found.candidates, found.suspects) == (5, 3)
    assert found.base_rate == pytest.approx(2 / 5)
    assert found.precision == pytest.approx(1 / 3)
    assert found.recall == pytest.approx(1 / 4)
    assert found.recall_of_candidates == pytest.approx(1 / 2)
    assert found.accuracy == pytest.approx(2 / 5)  # 0-1 and 1-4
    none = compare_with_pairs(judged, positives, threshold=0.95)
    assert (none.suspects, none.precision, none.recall, none.accuracy) == (0, None, 0, pytest.approx(3 / 5))
    nothing = Interactions.of(np.array([], int), np.array([], int), n_users=3, n_items=6)
    assert compare_with_pairs(judged, nothing).recall is None
    with pytest.raises(DataError, match="no labelled candidate"):
        compare_with_pairs(judged.where(~judged.labelled), positives)


def everything(split: Split, probability: np.ndarray | None = None, truth: Truth | None = None) -> Suspects:
    users, items = np.nonzero(split.train.matrix().toarray() == 0)
    given = truth.like_probability(users, items) if truth is not None else np.full(len(users), 0.9)
    return Suspects(users, items, given if probability is None else probability, "made up")


def test_a_judge_that_knows_the_truth_is_best(store: tuple[Split, Truth]) -> None:
    split, truth = store
    best = compare_with_truth(everything(split, truth=truth), truth, split.train)
    alike = compare_with_truth(everything(split), truth, split.train)
    assert alike.precision == pytest.approx(alike.base_rate)
    assert alike.recall == pytest.approx(1)
    assert best.recall == best.recall_of_candidates  # all unobserved pairs were candidates
    assert best.precision is not None
    assert best.precision > 0.5 > best.base_rate
    assert best.accuracy > alike.accuracy == pytest.approx(alike.base_rate)
    slow = total = hits = 0.0
    for user in range(split.train.n_users):
        for item in range(split.train.n_items):
            if not split.train.contains(user, item):
                like = float(truth.like_probability(np.array([user]), np.array([item]))[0])
                total += like
                slow += like * (like >= 0.5)
                hits += like >= 0.5
    assert best.recall == pytest.approx(slow / total)
    assert best.precision == pytest.approx(slow / hits)


def test_hidden_positives_are_identified_by_the_truth_and_not_by_chance(store: tuple[Split, Truth]) -> None:
    noisy, noise = make_noisy_split(store[0], NoiseConfig(false_positives=0.0, hidden=0.3))
    knowing = compare_with_pairs(everything(noisy, truth=store[1]), noise.hidden)
    chance = np.random.default_rng(0).random(len(everything(noisy)))
    guessing = compare_with_pairs(everything(noisy, chance), noise.hidden)
    assert guessing.precision == pytest.approx(guessing.base_rate, rel=0.2)
    assert knowing.precision is not None
    assert knowing.precision > 1.5 * knowing.base_rate
