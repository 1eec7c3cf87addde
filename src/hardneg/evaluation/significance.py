"""Significance tests of differences between methods, by a crossed bootstrap over users and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import special

from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats

RESAMPLES = 2000
MIN_SEEDS = 3
"""Minimum number of seeds; with two, a variance has one degree of freedom and the approximations below fail."""
ROUNDING = 1e-12
"""Differences and standard errors below this share of the largest value count as rounding errors."""
MAX_DRAWS = 4_000_000
"""Drawn values in memory at once (32 MB)."""


@dataclass(frozen=True)
class Difference:
    """Mean of A minus mean of B, its interval (low, high), and the p-value of "no difference".

    relative, relative_low, relative_high: difference and interval as shares of the mean of B, whose own error is ignored;
    NaN if it is 0.
    """

    mean: float
    low: float
    high: float
    p: float
    relative: float
    relative_low: float
    relative_high: float


def compare_methods(
    a: Floats, b: Floats, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Difference:
    """Compare two methods by a crossed bootstrap of mean(a) - mean(b), over the same users and independent seeds.

    a: (seeds of A, users), b: (seeds of B, users): values of one metric. Seed counts may differ; each is at least 3.

    Every resample draws users once for both methods, and seeds separately for each method. It resamples the main
    effects of a two-way random-effects model, value = mean + seed + user + noise: the means of the seeds and the mean
    differences of the users. The latter are shrunk by the noise left in means over few seeds. Resampling n values
    reproduces only (n - 1) / n of their variance. Effects of S seeds are therefore scaled by sqrt(S / (S - 1)), and
    those of U users by sqrt(U / (U - 1)). Resampling the raw table (the pigeonhole bootstrap; Owen, 2007) would count
    the noise three times. The interval is the difference +- t standard errors, and p follows from the same t. Its degrees of freedom
    are those of Welch and Satterthwaite for A's seeds, B's seeds and the users.

    If only seeds vary, this is Welch's t-test over the runs; if only users vary, the paired t-test over the users. The
    bootstrap adds an error of 1 / sqrt(2 x resamples), 1.6 % of the interval's width with 2,000 resamples. If nothing
    varies, p is 0, or 1 if the difference is a rounding error.

    At a level of 95 %, equal methods are called different in 3 to 6 % of simulated cases. If A's runs
    have ten times the standard deviation of B's, it is 4 to 7 % with at least five seeds, and up to 8 % with three.
    Welch's test with three and ten seeds has 6.6 %. Source: reproduction/calibration.py, 4,000 repetitions of each setting.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"found values of shapes {a.shape} and {b.shape}, expected (seeds, users) over the same users")
    if min(len(a), len(b)) < MIN_SEEDS:
        raise DataError(
            f"found {len(a)} and {len(b)} seeds, expected at least {MIN_SEEDS} for a test; train more seeds"
        )
    users = _user_effects(a, b)
    seeds_a, seeds_b = (_scaled_deviations(x.mean(axis=1)) for x in (a, b))
    error = float(_resample(users, seeds_a, seeds_b, resamples, generator(seed, "bootstrap")).std())
    return _describe_difference(
        float(a.mean() - b.mean()), error, lambda: _degrees_of_freedom(users, seeds_a, seeds_b), (a, b), level
    )


def compare_users(a: Floats, b: Floats, *, level: float = 0.95) -> Difference:
    """Compare two trained models by the paired t-test over users (users,): the users are the only source of variation.

    It says nothing about other seeds of the same methods. Values may be means over several seeds; their variation is then
    ignored. Raises DataError for fewer than two users.
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise DataError(
            f"found values of shapes {a.shape} and {b.shape}, expected (users,) of the same users, two or more"
        )
    differences = a - b
    return _describe_difference(
        float(differences.mean()),
        float(differences.std(ddof=1)) / np.sqrt(len(differences)),
        lambda: len(differences) - 1,
        (a, b),
        level,
    )


def is_lower(values: Floats, reference: Floats, *, level: float = 0.95) -> bool:
    """Return True where values of users (users,) are lower than those of a reference by the paired t-test.

    The users are the only source of variation: this compares one trained model with one other.
    """
    if len(values) < 2:
        return False
    difference = compare_users(values, reference, level=level)
    return difference.mean < 0 and difference.p < 1 - level


def holm(p_values: list[float]) -> list[float]:
    """Return p-values adjusted for the family by Holm's step-down method (1979), in the given order."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    result = np.empty(len(p_values))
    result[order] = adjusted
    return [float(p) for p in result]


def _describe_difference(
    observed: float, error: float, degrees_of_freedom: Callable[[], float], values: tuple[Floats, Floats], level: float
) -> Difference:
    """Return a difference of means with its interval and p by Student's t. error: its standard error."""
    base = float(values[1].mean())
    rounding = ROUNDING * max(float(np.abs(x).max()) for x in values)
    if error <= rounding:
        margin, p = 0.0, float(abs(observed) <= rounding)
    else:
        freedom = degrees_of_freedom()
        margin = float(special.stdtrit(freedom, (1 + level) / 2)) * error
        p = float(2 * special.stdtr(freedom, -abs(observed) / error))
    interval = (observed, observed - margin, observed + margin)
    return Difference(*interval, p, *(value / base if base else float("nan") for value in interval))


def _user_effects(a: Floats, b: Floats) -> Floats:
    """Return (users,) deviations of the users' differences from their mean, scaled, and shrunk by the noise."""
    differences = a.mean(axis=0) - b.mean(axis=0)
    effects = _scaled_deviations(differences)
    variance = float(effects.var())
    noise = sum(_noise_variance(x) / len(x) for x in (a, b))
    return np.asarray(effects * np.sqrt(max(0.0, 1.0 - noise / variance)) if variance > 0 else effects)


def _scaled_deviations(values: Floats) -> Floats:
    """Return (n,) deviations from the mean, scaled so that their mean square is the unbiased variance; 0 if n is 1."""
    n = len(values)
    return np.asarray((values - values.mean()) * np.sqrt(n / max(n - 1, 1)))


def _noise_variance(values: Floats) -> float:
    """Return the unbiased variance of values (seeds, users) that neither seed nor user explains."""
    residuals = values - values.mean(axis=0) - values.mean(axis=1, keepdims=True) + values.mean()
    return float(np.square(residuals).sum() / max((len(values) - 1) * (values.shape[1] - 1), 1))


def _resample(users: Floats, seeds_a: Floats, seeds_b: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples,) deviations of the resampled difference from the observed one."""
    deviations = np.empty(resamples)
    step = max(1, MAX_DRAWS // len(users))
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        deviations[start:stop] = _draw_means(users, stop - start, rng)
    return np.asarray(deviations + _draw_means(seeds_a, resamples, rng) - _draw_means(seeds_b, resamples, rng))


def _draw_means(effects: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Return (resamples,) means of len(effects) draws with replacement."""
    return np.asarray(effects[rng.integers(len(effects), size=(resamples, len(effects)))].mean(axis=1))


def _degrees_of_freedom(users: Floats, seeds_a: Floats, seeds_b: Floats) -> float:
    """Return the degrees of freedom by Welch and Satterthwaite."""
    components = [(float(x.var()) / len(x), len(x) - 1) for x in (users, seeds_a, seeds_b) if len(x) > 1]
    total = sum(variance for variance, _ in components)
    return 1.0 / sum((variance / total) ** 2 / freedom for variance, freedom in components)
