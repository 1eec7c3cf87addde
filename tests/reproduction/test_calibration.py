"""The shares that the docstring of `compare_methods` states, on fewer repetitions; reproduction/calibration.py has the full figures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from diagnostics.calibration import ALIKE, UNLIKE, Setting, share_called_different

from diagnostics import calibration
from hardneg.evaluation import compare_methods
from hardneg.random import generator

REPETITIONS = 300
ALIKE_AT_MOST, UNLIKE_AT_MOST, UNLIKE_AT_MOST_WITH_THREE = 0.06, 0.07, 0.08
"""As the docstring says."""


def tolerated(share: float, repetitions: int = REPETITIONS) -> float:
    """The share and two standard errors."""
    return float(share + 2 * np.sqrt(share * (1 - share) / repetitions))


@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (3, 10), (10, 3)])
@pytest.mark.parametrize("name", ALIKE)
def test_a_method_against_itself_is_rarely_called_different(name: str, seeds: tuple[int, int]) -> None:
    assert share_called_different(replace(ALIKE[name], seeds=seeds), REPETITIONS) <= tolerated(ALIKE_AT_MOST)


@pytest.mark.parametrize("seeds", [(3, 3), (5, 5), (3, 10), (10, 3)])
@pytest.mark.parametrize("name", UNLIKE)
def test_equal_methods_of_unequal_spread_are_rarely_called_different(name: str, seeds: tuple[int, int]) -> None:
    stated = UNLIKE_AT_MOST_WITH_THREE if min(seeds) == 3 else UNLIKE_AT_MOST
    assert share_called_different(replace(UNLIKE[name], seeds=seeds), REPETITIONS) <= tolerated(stated)


def test_the_mean_error_rate_is_the_stated_one() -> None:
    """Neither more nor much less, over 1,800 repetitions: an interval that is too wide would pass the tests above."""
    shares = [share_called_different(replace(setting, seeds=(5, 5)), REPETITIONS) for setting in ALIKE.values()]
    assert 0.03 <= np.mean(shares) <= tolerated(0.05, REPETITIONS * len(shares))


@pytest.mark.parametrize(("sd", "noise", "users_sd"), [(0.02, 0.0, 0.1), (0.0, 0.3, 0.0), (0.01, 0.2, 0.1)])
def test_a_difference_of_four_standard_errors_is_mostly_detected(sd: float, noise: float, users_sd: float) -> None:
    """A test that never says "different" would pass all the bounds from above."""
    error = np.sqrt(2 * sd**2 / 5 + users_sd**2 / 150 + 2 * noise**2 / (5 * 150))
    setting = Setting((5, 5), (sd, sd), (noise, noise), users_sd)
    assert share_called_different(setting, 200, lift=4 * error) > 0.8


def test_another_level_is_another_share() -> None:
    found = share_called_different(Setting((5, 5), (1.0, 1.0), user_sd=1.0), REPETITIONS, level=0.8)
    assert 0.13 <= found <= 0.25


def test_p_is_below_five_percent_if_the_interval_excludes_zero() -> None:
    setting = Setting((3, 5), (0.1, 0.1), (1.0, 1.0), 1.0)
    found = [compare_methods(*setting.draw(generator(seed, "test"), lift=0.2), resamples=400) for seed in range(60)]
    different = [not one.low <= 0 <= one.high for one in found]
    assert [one.p < 0.05 for one in found] == different
    assert 0 < sum(different) < len(different)


def test_a_setting_draws_its_variances() -> None:
    setting = Setting((4000, 3), (0.5, 0.0), (0.2, 0.0), user_sd=2.0, n_users=400, touched=0.25)
    a, b = setting.draw(generator(0, "test"), lift=3.0)
    assert (a.shape, b.shape) == ((4000, 400), (3, 400))
    own = a.mean(axis=0) - b.mean(axis=0) - 3.0
    touched = np.abs(own) > 0.1
    assert touched.mean() == pytest.approx(0.25, abs=0.06)
    assert own[touched].std() == pytest.approx(2.0, rel=0.2)
    assert a.mean(axis=1).std() == pytest.approx(0.5, rel=0.05)
    assert (a - a.mean(axis=1, keepdims=True) - a.mean(axis=0)).std() == pytest.approx(0.2, rel=0.05)
    assert np.ptp(b, axis=0).max() == 0
    assert {min(counts) for counts in calibration.SEED_COUNTS} == {3, 5, 10}
