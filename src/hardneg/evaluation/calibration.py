"""How often `compare_methods` calls equal methods different, by simulation: the share that its level states, or more?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from hardneg.evaluation.significance import compare_methods
from hardneg.random import generator
from hardneg.types import Floats

SEED_COUNTS = ((3, 3), (5, 5), (10, 10), (3, 5), (5, 3), (3, 10), (10, 3), (5, 10), (10, 5))
"""Numbers of runs (of A, of B) under which every setting is tried."""


@dataclass(frozen=True)
class SimulatedComparison:
    """Two methods of equal mean: what varies, and how far.

    Every pair is (of A, of B). seeds: number of runs. seed_sd: spread of the runs' means. noise_sd: spread of what neither run nor
    user explains. user_sd: spread of the users' own differences between the methods; users' common level has spread 1
    and cancels. touched: share of users whose values differ at all between the methods, as where most users have no hit.
    """

    seeds: tuple[int, int] = (3, 3)
    seed_sd: tuple[float, float] = (0.0, 0.0)
    noise_sd: tuple[float, float] = (0.0, 0.0)
    user_sd: float = 0.0
    n_users: int = 150
    touched: float = 1.0

    def draw(self, rng: Generator, lift: float = 0.0) -> tuple[Floats, Floats]:
        """Values of A, raised by lift, and of B: (seeds, users) each."""
        level = rng.normal(size=self.n_users)
        own = self.user_sd * rng.normal(size=self.n_users) * (rng.random(self.n_users) < self.touched)
        a, b = (self._runs(side, rng) for side in (0, 1))
        return a + level + own + lift, b + level

    def _runs(self, side: int, rng: Generator) -> Floats:
        n = self.seeds[side]
        run = self.seed_sd[side] * rng.normal(size=(n, 1))
        return np.asarray(run + self.noise_sd[side] * rng.normal(size=(n, self.n_users)))


ALIKE = {
    "seeds": SimulatedComparison(seed_sd=(1.0, 1.0)),
    "noise": SimulatedComparison(noise_sd=(1.0, 1.0)),
    "users": SimulatedComparison(user_sd=1.0),
    "seeds and noise": SimulatedComparison(seed_sd=(0.1, 0.1), noise_sd=(1.0, 1.0)),
    "seeds, users and noise": SimulatedComparison(seed_sd=(0.1, 0.1), noise_sd=(1.0, 1.0), user_sd=1.0),
    "noise, and a tenth of the users": SimulatedComparison(noise_sd=(1.0, 1.0), user_sd=2.0, touched=0.1),
}
"""What varies: both methods vary alike."""
UNLIKE = {
    "A's seeds alone": SimulatedComparison(seed_sd=(1.0, 0.0)),
    "seeds, A's ten times": SimulatedComparison(seed_sd=(1.0, 0.1)),
    "noise, A's ten times": SimulatedComparison(noise_sd=(1.0, 0.1)),
    "seeds, A's ten times, users and noise": SimulatedComparison(seed_sd=(0.5, 0.05), noise_sd=(1.0, 1.0), user_sd=1.0),
}
"""What varies: A's runs spread ten times as far as B's, or B's not at all."""


def share_called_different(
    setting: SimulatedComparison, repetitions: int, *, level: float = 0.95, resamples: int = 400, lift: float = 0.0
) -> float:
    """Share of repetitions in which the interval leaves 0 out: errors where lift is 0, power elsewhere."""
    called = 0
    for repetition in range(repetitions):
        a, b = setting.draw(generator(repetition, f"calibration of {setting}"), lift)
        found = compare_methods(a, b, level=level, resamples=resamples, seed=repetition)
        called += not found.low <= 0 <= found.high
    return called / repetitions
