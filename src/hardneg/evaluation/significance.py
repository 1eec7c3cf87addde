"""Is one method different from another, users and seeds resampled together?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats

RESAMPLES = 2000


@dataclass(frozen=True)
class Difference:
    """Mean of A minus mean of B, its interval, and the p-value of "no difference".

    base: the mean of B, which the relative sizes are shares of.
    """

    mean: float
    low: float
    high: float
    p: float
    base: float

    @property
    def relative(self) -> float:
        """Difference as a share of the mean of B; nan where that is 0."""
        return self._share(self.mean)

    @property
    def relative_low(self) -> float:
        """Lower end as a share of the mean of B (whose own chance is not counted)."""
        return self._share(self.low)

    @property
    def relative_high(self) -> float:
        """Upper end as a share of the mean of B."""
        return self._share(self.high)

    def _share(self, value: float) -> float:
        return value / self.base if self.base else float("nan")


def compare(a: Floats, b: Floats, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0) -> Difference:
    """Crossed bootstrap of mean(a) - mean(b) over the same users and independent seeds.

    a: (seeds of A, users), b: (seeds of B, users): per-user values of one metric; seed counts may differ, each at
    least 2. Users are drawn once for both methods, seeds for each method apart (Owen, 2007, "The pigeonhole
    bootstrap"). Two things keep few seeds honest: seeds' deviations from their mean are widened by
    sqrt(S / (S - 1)), since resampling S values shrinks their spread, and the interval is widened from the normal to
    the t distribution, its degrees of freedom by Welch and Satterthwaite from the shares of users and seeds.
    """
    _check(a, b)
    observed = float(a.mean() - b.mean())
    deviations, from_seeds = _resample(_widened(a), _widened(b), resamples, generator(seed, "bootstrap"))
    error = float(deviations.std())
    if error == 0:
        return Difference(observed, observed, observed, float(observed == 0), float(b.mean()))
    freedom = _freedom(error**2, from_seeds, a.shape, b.shape)
    tail = (1 - level) / 2
    widen = stats.t.ppf(1 - tail, freedom) / stats.norm.ppf(1 - tail)
    low, high = observed + widen * np.quantile(deviations, [tail, 1 - tail])
    p = float(2 * stats.t.sf(abs(observed) / error, freedom))
    return Difference(observed, float(low), float(high), p, float(b.mean()))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment (1979): p-values that hold for the whole family, in the order given."""
    order = np.argsort(p_values)
    factors = np.arange(len(p_values), 0, -1)
    adjusted = np.minimum(np.maximum.accumulate(np.asarray(p_values)[order] * factors), 1.0)
    result = np.empty(len(p_values))
    result[order] = adjusted
    return [float(p) for p in result]


def _resample(a: Floats, b: Floats, resamples: int, rng: np.random.Generator) -> tuple[Floats, float]:
    """Deviations of the resampled difference from the observed one, and the variance that seeds alone give."""
    n_users = a.shape[1]
    observed = a.mean() - b.mean()
    deviations = np.empty(resamples)
    for start in range(0, resamples, 200):
        stop = min(start + 200, resamples)
        weights = rng.multinomial(n_users, np.full(n_users, 1 / n_users), size=stop - start) / n_users
        means_a, means_b = a @ weights.T, b @ weights.T  # (seeds, resamples)
        deviations[start:stop] = _drawn(means_a, rng) - _drawn(means_b, rng) - observed
    seeds = sum(float(x.mean(axis=1).var(ddof=0)) / len(x) for x in (a, b))
    return deviations, seeds


def _drawn(means: Floats, rng: np.random.Generator) -> Floats:
    """For every column the mean of as many rows as there are, drawn with repeats."""
    n_seeds, n = means.shape
    picked = rng.integers(n_seeds, size=(n_seeds, n))
    return np.asarray(np.take_along_axis(means, picked, axis=0).mean(axis=0))


def _freedom(total: float, seeds: float, shape_a: tuple[int, ...], shape_b: tuple[int, ...]) -> float:
    seed_freedom, user_freedom = shape_a[0] + shape_b[0] - 2, shape_a[1] - 1
    users = max(total - seeds, 0.0)
    return float((seeds + users) ** 2 / (seeds**2 / seed_freedom + users**2 / user_freedom))


def _widened(values: Floats) -> Floats:
    n_seeds = len(values)
    centre = values.mean(axis=0, keepdims=True)
    return np.asarray(centre + (values - centre) * np.sqrt(n_seeds / (n_seeds - 1)))


def _check(a: Floats, b: Floats) -> None:
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise DataError(f"found values of shapes {a.shape} and {b.shape}, expected (seeds, users) over the same users")
    if min(len(a), len(b)) < 2:
        raise DataError(f"found {len(a)} and {len(b)} seeds, expected 2 at least: one run tells nothing of chance")
