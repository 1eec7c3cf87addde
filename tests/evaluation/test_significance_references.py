"""Our statistics against scipy's and statsmodels', on random cases: where a textbook has the answer, ours is that one."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.multitest import multipletests

from hardneg.evaluation import Difference, compare_methods, holm

RESAMPLES = 20_000
OFF = 4 / np.sqrt(2 * RESAMPLES)
"""Four standard errors of a bootstrapped standard error, as a share of it: 2 %."""
SMALL = st.integers(0, 2**32 - 1)


@pytest.fixture(scope="module")
def quick_collection() -> Iterator[None]:
    """statsmodels collects garbage in every call; freezing existing objects makes that fast."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("quick_collection")
@given(st.lists(st.floats(0, 1) | st.sampled_from([0.0, 0.01, 0.05, 1.0]), min_size=1, max_size=30))
@settings(max_examples=300, deadline=None)
def test_holm_is_that_of_statsmodels(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(multipletests(p_values, method="holm")[1], abs=1e-15)


def agree(found: Difference, t: float, freedom: float, interval: tuple[float, float]) -> None:
    """The same difference, interval and p but for the bootstrap's own error; no factor is left for few seeds or users."""
    low, high = interval
    half = (high - low) / 2
    assert found.mean == pytest.approx((low + high) / 2)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=OFF)
    smallest, largest = (2 * stats.t.sf(abs(t) * factor, freedom) for factor in (1 + OFF, 1 - OFF))
    assert smallest <= found.p <= largest


@given(SMALL, st.integers(3, 12), st.integers(3, 12), st.sampled_from([0.3, 1.0, 3.0]), st.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_if_only_seeds_vary_it_is_welchs_test(seed: int, n_a: int, n_b: int, spread: float, lift: float) -> None:
    """Users' common level cancels, as it must: the same users are under both methods."""
    rng = np.random.default_rng(seed)
    level = rng.normal(size=15)
    a, b = lift + rng.normal(size=n_a), spread * rng.normal(size=n_b)
    found = compare_methods(a[:, None] + level, b[:, None] + level, resamples=RESAMPLES, seed=seed)
    welch = stats.ttest_ind(a, b, equal_var=False)
    interval = tuple(end + 0.0 for end in welch.confidence_interval(0.95))
    agree(found, welch.statistic, welch.df, interval)


@given(SMALL, st.integers(2, 60), st.integers(3, 6), st.floats(0, 1), st.sampled_from([0.9, 0.95, 0.99]))
@settings(max_examples=40, deadline=None)
def test_if_only_users_vary_it_is_the_paired_test(
    seed: int, n_users: int, n_seeds: int, lift: float, level: float
) -> None:
    """Seeds that repeat each other add nothing, however many; two users are two users."""
    rng = np.random.default_rng(seed)
    b = rng.random(n_users)
    a = b + lift + rng.normal(size=n_users)
    copies = np.ones((n_seeds, 1))
    found = compare_methods(a * copies, b * copies, level=level, resamples=RESAMPLES, seed=seed)
    paired = stats.ttest_rel(a, b)
    agree(found, paired.statistic, paired.df, tuple(paired.confidence_interval(level)))


@given(SMALL, st.integers(3, 8), st.integers(5, 30), st.floats(0.2, 2), st.floats(0.2, 2))
@settings(max_examples=15, deadline=None)
def test_the_standard_error_is_that_of_the_two_way_analysis_of_variance(
    seed: int, n_seeds: int, n_users: int, seed_sd: float, user_sd: float
) -> None:
    """Random effects, no replication: var(mean) = (MS seeds + MS users - MS rest) / (S U), Satterthwaite's freedom."""
    rng = np.random.default_rng(seed)
    run, user = seed_sd * rng.normal(size=(n_seeds, 1)), user_sd * rng.normal(size=n_users)
    a = run + user + 0.5 * rng.normal(size=(n_seeds, n_users))
    s, u = np.indices(a.shape)
    frame = pd.DataFrame({"value": a.ravel(), "seed": s.ravel(), "user": u.ravel()})
    squares = anova_lm(ols("value ~ C(seed) + C(user)", frame).fit())["mean_sq"]
    rest = squares["Residual"]
    runs, users = squares["C(seed)"] / a.size, max(squares["C(user)"] - rest, 0.0) / a.size
    freedom = (runs + users) ** 2 / (runs**2 / (n_seeds - 1) + users**2 / (n_users - 1))
    half = stats.t.ppf(0.975, freedom) * np.sqrt(runs + users)
    found = compare_methods(a, np.zeros((3, n_users)), resamples=RESAMPLES, seed=seed)
    agree(found, a.mean() / np.sqrt(runs + users), freedom, (a.mean() - half, a.mean() + half))


@pytest.mark.parametrize("seeds", [(3, 3), (3, 4), (5, 7)])
def test_methods_that_differ_only_by_rounding_are_equal(seeds: tuple[int, int]) -> None:
    """A method without chance, under other numbers of seeds: its means differ in the last bit."""
    users = np.random.default_rng(0).random(50)
    for values in (users, np.full(5, 0.1)):
        found = compare_methods(np.tile(values, (seeds[0], 1)), np.tile(values, (seeds[1], 1)))
        assert found.p == 1.0
        assert abs(found.mean) < 1e-12


def test_a_difference_without_variation_has_p_zero() -> None:
    found = compare_methods(np.full((3, 5), 0.2), np.full((4, 5), 0.1))
    assert found.p == 0.0
    assert found.low == found.high == pytest.approx(0.1)


def test_with_one_user_only_the_seeds_count() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4, 1)), rng.normal(size=(5, 1))
    welch = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False)
    agree(compare_methods(a, b, resamples=RESAMPLES), welch.statistic, welch.df, tuple(welch.confidence_interval(0.95)))
