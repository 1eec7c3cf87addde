"""Error rate of `compare_methods`: how often it calls two equal methods different, by simulation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hardneg.evaluation.significance import compare_methods
from hardneg.random import generator
from hardneg.types import Floats

SEED_COUNTS = ((3, 3), (5, 5), (10, 10), (3, 5), (5, 3), (3, 10), (10, 3), (5, 10), (10, 5))
"""Numbers of runs (of A, of B) simulated for every setting."""


@dataclass(frozen=True)
class Setting:
    """Sources of variation of two methods with equal means; every pair is (of A, of B).

    seeds: number of runs. seed_sd: standard deviation of the runs' means. noise_sd: standard deviation of the residual
    noise. user_sd: standard deviation of the users' differences between the methods; the users' common level has
    standard deviation 1 and cancels. touched: share of users whose values differ between the methods at all.
    """

    seeds: tuple[int, int] = (3, 3)
    seed_sd: tuple[float, float] = (0.0, 0.0)
    noise_sd: tuple[float, float] = (0.0, 0.0)
    user_sd: float = 0.0
    n_users: int = 150
    touched: float = 1.0

    def draw(self, rng: Generator, lift: float = 0.0) -> tuple[Floats, Floats]:
        """Draw values of A, raised by `lift`, and of B: (seeds, users) each."""
        level = rng.normal(size=self.n_users)
        differences = self.user_sd * rng.normal(size=self.n_users) * (rng.random(self.n_users) < self.touched)
        a, b = (self._draw_runs(method, rng) for method in (0, 1))
        return a + level + differences + lift, b + level

    def _draw_runs(self, method: int, rng: Generator) -> Floats:
        n = self.seeds[method]
        run_means = self.seed_sd[method] * rng.normal(size=(n, 1))
        return np.asarray(run_means + self.noise_sd[method] * rng.normal(size=(n, self.n_users)))


ALIKE = {
    "seeds": Setting(seed_sd=(1.0, 1.0)),
    "noise": Setting(noise_sd=(1.0, 1.0)),
    "users": Setting(user_sd=1.0),
    "seeds and noise": Setting(seed_sd=(0.1, 0.1), noise_sd=(1.0, 1.0)),
    "seeds, users and noise": Setting(seed_sd=(0.1, 0.1), noise_sd=(1.0, 1.0), user_sd=1.0),
    "noise, and a tenth of the users": Setting(noise_sd=(1.0, 1.0), user_sd=2.0, touched=0.1),
}
"""Settings in which both methods have the same variances."""
UNLIKE = {
    "A's seeds alone": Setting(seed_sd=(1.0, 0.0)),
    "seeds, A's ten times": Setting(seed_sd=(1.0, 0.1)),
    "noise, A's ten times": Setting(noise_sd=(1.0, 0.1)),
    "seeds, A's ten times, users and noise": Setting(seed_sd=(0.5, 0.05), noise_sd=(1.0, 1.0), user_sd=1.0),
}
"""Settings in which A's standard deviation is ten times B's, or B's is zero."""


def share_called_different(
    setting: Setting, repetitions: int, *, level: float = 0.95, resamples: int = 400, lift: float = 0.0
) -> float:
    """Return the share of repetitions whose interval excludes 0: the error rate if lift is 0, else the power."""
    excluded = 0
    for repetition in range(repetitions):
        # The random key is the setting's repr: its class and field names are part of the seed.
        a, b = setting.draw(generator(repetition, f"calibration of {setting}"), lift)
        difference = compare_methods(a, b, level=level, resamples=resamples, seed=repetition)
        excluded += not difference.low <= 0 <= difference.high
    return excluded / repetitions
