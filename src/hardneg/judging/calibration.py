"""Probabilities of a judge's scores, calibrated on hidden training items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.random import Generator

from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.judging.judge import gather_histories
from hardneg.random import Stream, generator
from hardneg.sampling.sampler import UniformCandidates
from hardneg.types import Floats, Indices

NO_INFORMATION = 1e-9
"""Distance from 0.5 below which a probability equals one half up to rounding."""


@dataclass(frozen=True)
class Calibration:
    """Monotone map from ascending scores (m,) to probabilities (m,), with linear interpolation."""

    scores: Floats
    probability: Floats

    @classmethod
    def from_threshold(cls, threshold: float, largest: float) -> Calibration:
        """Return probabilities 0 at score 0, 0.5 at the threshold, and 1 at the largest score.

        Raises ConfigError where no score reaches the threshold.
        """
        if threshold > largest:
            raise ConfigError(
                f"found threshold {threshold:g}, expected at most {largest:g}, the largest score; lower it"
            )
        above = ([largest], [1.0]) if threshold < largest else ([], [])
        return cls(np.array([0.0, threshold, *above[0]]), np.array([0.0, 0.5, *above[1]]))

    @classmethod
    def isotonic(cls, hidden: Floats, random: Floats) -> Calibration:
        """Return the probability of a score (n,) to be that of a hidden item rather than a random one, equal priors.

        Made monotone by isotonic regression (Barlow et al., 1972). Probability 0.5 begins at the score that separates
        both best (largest true minus false positive rate). Scores that are equally frequent in both get a probability
        just below 0.5, so that rounding does not decide.
        """
        from sklearn.isotonic import isotonic_regression

        scores, which = np.unique(np.concatenate([hidden, random]), return_inverse=True)
        hidden_share = np.bincount(which[: len(hidden)], minlength=len(scores)) / len(hidden)
        random_share = np.bincount(which[len(hidden) :], minlength=len(scores)) / len(random)
        frequency = hidden_share + random_share
        probability = isotonic_regression(hidden_share / frequency, sample_weight=frequency)
        is_half = np.abs(probability - 0.5) <= NO_INFORMATION
        return cls(scores, np.where(is_half, 0.5 - NO_INFORMATION, probability))

    def __call__(self, scores: Floats) -> Floats:
        """Return the probabilities of scores of any shape."""
        return np.interp(scores, self.scores, self.probability)

    @property
    def is_flat(self) -> bool:
        """True where all scores have the same probability, so that the judge separates nothing."""
        return bool(np.ptp(self.probability) <= 2 * NO_INFORMATION)

    @property
    def threshold(self) -> float:
        """Smallest score with a probability of at least 0.5; infinite where there is none."""
        above = np.flatnonzero(self.probability >= 0.5)
        return float(self.scores[above[0]]) if len(above) else np.inf

    @property
    def corners(self) -> list[tuple[float, float]]:
        """Scores and probabilities between which the map is linear."""
        same = np.r_[False, np.diff(self.probability) == 0]
        inner = same & np.r_[same[1:], False]
        return list(zip(self.scores[~inner].tolist(), self.probability[~inner].tolist(), strict=True))


@dataclass(frozen=True)
class HiddenItems:
    """One hidden training item of each user, and random unobserved items.

    users: (n,). starts, rest: remaining histories; users[k] has rest[starts[k]:starts[k + 1]]. candidates: (n, 1 + m),
    the hidden item first.
    """

    users: Indices
    starts: Indices
    rest: Indices
    candidates: Indices


def hide_items(
    train: Interactions, *, against: int, seed: int, max_users: int | None = None, owned: Interactions | None = None
) -> HiddenItems:
    """Hide one training item of each user, and draw `against` random items that the user does not have.

    max_users: maximum number of users, drawn from those with two training items; None for all. owned: pairs that users
    have, by default `train`. Raises DataError where no user has two training items.
    """
    users = np.flatnonzero(train.counts >= 2)
    if not len(users):
        raise DataError(
            "found no user with two training items, expected one at least; choose a judge without calibration, or set a threshold for the rule"
        )
    if max_users is not None and len(users) > max_users:
        users = np.sort(generator(seed, "users of hidden items").choice(users, max_users, replace=False))
    hidden, starts, rest = hide_one_item(train, users, generator(seed, "hidden items"))
    stream = Stream(seed, "beside hidden items", 0)
    drawn = UniformCandidates(train if owned is None else owned).draw(users, users, n=against, stream=stream)
    return HiddenItems(users, starts, rest, np.concatenate([hidden[:, None], drawn], axis=1))


def hide_one_item(train: Interactions, users: Indices, rng: Generator) -> tuple[Indices, Indices, Indices]:
    """Remove a random item of each user: hidden items (users,), and the remaining histories as starts and items."""
    starts, history = gather_histories(train, users)
    counts = np.diff(starts)
    places = starts[:-1] + (rng.random(len(users)) * counts).astype(np.int64)
    rest = np.delete(history, places)
    return history[places], starts - np.arange(len(starts)), rest


def calibrate(scores: Floats) -> tuple[Calibration, dict[str, Any]]:
    """Calibrate scores (n, 1 + m), the hidden item's first; NaN for none. Also returns notes for a manifest.

    auc: probability that a hidden item scores higher than a random one, ties counting one half.
    """
    from sklearn.metrics import roc_auc_score

    hidden, random = scores[:, 0], scores[:, 1:].ravel()
    hidden, random = hidden[~np.isnan(hidden)], random[~np.isnan(random)]
    calibration = Calibration.isotonic(hidden, random)
    notes = {
        "hidden items": len(hidden),
        "random items": len(random),
        "prior": 0.5,
        "auc": float(roc_auc_score(np.r_[np.ones(len(hidden)), np.zeros(len(random))], np.r_[hidden, random])),
        "hidden items at least 0.5": float((calibration(hidden) >= 0.5).mean()),
        "random items at least 0.5": float((calibration(random) >= 0.5).mean()),
        "curve": calibration.corners,
    }
    return calibration, notes
