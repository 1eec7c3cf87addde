"""Significance of differences: equal methods, a better method, Holm by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hardneg.data import Split
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.evaluation import compare_methods, compare_users, evaluate_scores, holm, inner_product, is_lower
from hardneg.fitting import fit_backbone
from hardneg.models import LightGCNModel
from hardneg.training import FitConfig

REPETITIONS = 200
STATED = 0.05


def runs(rng: np.random.Generator, seeds: int, users: np.ndarray, seed_sd: float, noise_sd: float) -> np.ndarray:
    """Per-user values: a user's level, a run's level, and noise of their own."""
    shape = (seeds, len(users))
    return users + seed_sd * rng.normal(size=(seeds, 1)) + noise_sd * rng.normal(size=shape)


@pytest.mark.slow
def test_real_trainings_against_themselves_are_rarely_called_different(store: tuple[Split, Truth]) -> None:
    """200 times three of 300 real trainings against three others that differ in nothing but their seeds."""
    split, _ = store
    settings = FitConfig(epochs=4, check_every=4, learning_rate=0.03, batch_size=512)

    def trained(seed: int) -> np.ndarray:
        model = LightGCNModel(split.train, embedding_size=8, hops=1, seed=seed)
        fitted = fit_backbone(model, split, config=settings.model_copy(update={"seed": seed}))
        return evaluate_scores(inner_product(fitted.embeddings), split.test, split.train, metrics=("ndcg@10",)).values[
            "ndcg@10"
        ]

    pool, called, rng = np.stack([trained(seed) for seed in range(300)]), 0, np.random.default_rng(0)
    for repetition in range(REPETITIONS):
        values = pool[rng.choice(len(pool), 6, replace=False)]
        found = compare_methods(values[:3], values[3:], resamples=500, seed=repetition)
        called += not found.low <= 0 <= found.high
    assert called / REPETITIONS <= STATED


def test_a_better_method_is_called_better() -> None:
    rng = np.random.default_rng(1)
    users = rng.normal(size=500)
    a, b = runs(rng, 3, users + 0.3, 0.01, 0.1), runs(rng, 3, users, 0.01, 0.1)
    found = compare_methods(a, b)
    assert found.low > 0.2
    assert found.high < 0.4
    assert found.p < 1e-3
    assert found.mean == pytest.approx(a.mean() - b.mean())
    assert found.relative == pytest.approx(found.mean / b.mean())


def test_more_seeds_do_not_replace_users() -> None:
    """Ten users with large differences of both signs: no number of seeds makes this certain."""
    difference = np.array([1.0, -0.8, 1.2, -0.9, 0.9, -0.7, 0.8, -1.1, 1.0, -0.6])
    found = compare_methods(np.tile(difference, (50, 1)), np.zeros((50, 10)))
    assert found.low < 0 < found.high


def test_the_two_sides_mirror_each_other() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.random((3, 40)), rng.random((3, 40))
    one, other = compare_methods(a, b), compare_methods(b, a)
    assert one.mean == -other.mean
    assert one.p == pytest.approx(other.p, rel=0.15)


def test_equal_values_are_not_different() -> None:
    same = np.ones((3, 5))
    assert compare_methods(same, same).p == 1.0


def test_two_seeds_are_refused() -> None:
    with pytest.raises(DataError, match="2 and 3 seeds"):
        compare_methods(np.ones((2, 4)), np.ones((3, 4)))


def test_other_users_are_refused() -> None:
    with pytest.raises(DataError, match="users"):
        compare_methods(np.ones((3, 4)), np.ones((3, 5)))


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([]) == []


def test_users_are_compared_by_the_paired_t_test() -> None:
    rng = np.random.default_rng(5)
    for shift in (0.0, 0.02, -0.2):
        reference = rng.random(80)
        values = reference + shift + 0.1 * rng.normal(size=80)
        test, found = stats.ttest_rel(values, reference), compare_users(values, reference)
        assert found.p == pytest.approx(test.pvalue)
        assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval(0.95)))
        assert found.relative_low == pytest.approx(found.low / reference.mean())
    assert compare_users(reference, reference).p == 1
    assert compare_users(reference - 0.5, reference).p == 0
    with pytest.raises(DataError, match="two or more"):
        compare_users(np.ones(1), np.zeros(1))


def test_is_lower_is_the_paired_t_test_over_users() -> None:
    rng = np.random.default_rng(4)
    reference = rng.random(80)
    for shift in (-0.02, -0.05, -0.2, 0.2):
        values = reference + shift + 0.2 * rng.normal(size=80)
        test = stats.ttest_rel(values, reference)
        assert is_lower(values, reference) == (test.statistic < 0 and test.pvalue < 0.05)
    assert is_lower(reference - 0.1, reference)
    assert not is_lower(reference, reference)
    assert not is_lower(np.zeros(1), np.ones(1)), "one user shows nothing"
