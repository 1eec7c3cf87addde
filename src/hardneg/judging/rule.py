"""Rule-based judge: a candidate is a suspect where its path code shares a long prefix with an item of the history.

DTL-NS (arXiv 2602.18249) prompts an LLM to compare the lengths of common prefixes, and defines no threshold. Here the
score is the longest common prefix with the history in either tree. Training pairs calibrate the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field

from hardneg.config import PerRow, Seed
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.judging.judge import Judge, JudgeConfig, JudgeInputs, gather_histories
from hardneg.random import Stream, generator
from hardneg.sampling.sampler import UniformCandidates
from hardneg.trees import Trees, best_in_history
from hardneg.types import Floats, Indices

NO_INFORMATION = 1e-9
"""Distance from 0.5 below which a probability equals one half up to rounding."""

SimilarityKind = Literal["levels", "share"]
"""Measure of a common prefix: number of levels, or share of the shorter code."""


class PrefixRule(JudgeConfig):
    """Threshold on the longest common prefix of path codes."""

    reads_trees: ClassVar[bool] = True
    kind: Literal["rule"] = "rule"
    by: SimilarityKind = "levels"
    """levels: length of the common prefix, as in the paper's prompt. share: its share of the shorter code, as in the
    paper's sampler."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Score with probability 0.5; by default calibrated on hidden training pairs.

    The calibration compares them with uniform unobserved items, and the trees were built with the hidden pairs. Among
    the top candidates of a model, the probabilities are therefore not calibrated."""
    against: PerRow = 5
    """Number of random unobserved items per hidden training item."""
    seed: Seed = 0
    """Seed of the hidden and the random items."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError without path codes."""
        train, codes = inputs.split.train, inputs.codes(self.kind)
        if self.threshold is not None:
            depth = max(tree.lengths.max(initial=0) for tree in (codes.structural, codes.semantic))
            largest = float(depth) if self.by == "levels" else 1.0
            return RuleJudge(train, codes, Calibration.from_threshold(self.threshold, largest), self.by)
        calibration = calibrate_rule(train, codes, self.by, against=self.against, seed=self.seed)
        return RuleJudge(train, codes, calibration, self.by)


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

    def __call__(self, scores: Floats) -> Floats:
        """Return the probabilities of scores of any shape."""
        return np.interp(scores, self.scores, self.probability)

    @property
    def is_flat(self) -> bool:
        """True where all scores have the same probability, so that the rule separates nothing."""
        return bool(np.ptp(self.probability) <= 2 * NO_INFORMATION)

    @property
    def threshold(self) -> float:
        """Smallest score with a probability of at least 0.5; infinite where there is none."""
        above = np.flatnonzero(self.probability >= 0.5)
        return float(self.scores[above[0]]) if len(above) else np.inf


@dataclass(frozen=True)
class RuleJudge:
    """Maps the scores of `best_prefix_scores` to probabilities by the calibration."""

    train: Interactions
    codes: Trees
    calibration: Calibration
    by: SimilarityKind = "levels"

    @property
    def name(self) -> str:
        """Name with the threshold and the measure."""
        return f"rule {self.calibration.threshold:.3g} {self.by}"

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return the probabilities (users, n), NaN for padding (-1). A candidate without a code has score 0."""
        return np.where(candidates >= 0, self.calibration(self.scores(users, candidates)), np.nan)

    def scores(self, users: Indices, candidates: Indices) -> Floats:
        """Return the scores (users, n): levels, or shares in [0, 1]."""
        return best_prefix_scores(self.codes, *gather_histories(self.train, users), candidates, self.by)


def best_prefix_scores(
    codes: Trees, starts: Indices, history: Indices, candidates: Indices, by: SimilarityKind
) -> Floats:
    """Return the best common prefix of each candidate with the history of its user in either tree, (users, n).

    starts, history: from `gather_histories`. 0 where the candidate or the whole history has no code.
    """
    matches = [best_in_history(tree, starts, history, candidates) for tree in (codes.structural, codes.semantic)]
    scores = [best.prefix if by == "levels" else best.similarity for best in matches]
    return np.maximum(*scores).astype(float)


def calibrate_rule(
    train: Interactions, codes: Trees, by: SimilarityKind = "levels", *, against: int = 5, seed: int = 0
) -> Calibration:
    """Calibrate the rule on training pairs: hide one item of each user and score it against the rest of the history.

    The probability of a score is that of a hidden item rather than a random unobserved item, with equal priors, made
    monotone by isotonic regression (Barlow et al., 1972). Probability 0.5 begins at the score that separates both best
    (largest true minus false positive rate). Scores that are equally frequent in both get a probability just below 0.5,
    so that rounding does not decide. The trees were built with the hidden pairs, so the separation is optimistic for
    new pairs. Raises DataError where no user has two training items.
    """
    users = np.flatnonzero(train.counts >= 2)
    if not len(users):
        raise DataError("found no user with two training items, expected one at least; set a threshold for the rule")
    hidden, starts, rest = hide_one_item(train, users, generator(seed, "hidden items"))
    drawn = UniformCandidates(train).draw(users, users, n=against, stream=Stream(seed, "beside hidden items", 0))
    scores = best_prefix_scores(codes, starts, rest, np.concatenate([hidden[:, None], drawn], axis=1), by)
    return _isotonic(scores[:, 0], scores[:, 1:].ravel())


def hide_one_item(train: Interactions, users: Indices, rng: Generator) -> tuple[Indices, Indices, Indices]:
    """Remove a random item of each user: hidden items (users,), and the remaining histories as starts and items."""
    starts, history = gather_histories(train, users)
    counts = np.diff(starts)
    places = starts[:-1] + (rng.random(len(users)) * counts).astype(np.int64)
    rest = np.delete(history, places)
    return history[places], starts - np.arange(len(starts)), rest


def _isotonic(hidden: Floats, random: Floats) -> Calibration:
    from sklearn.isotonic import isotonic_regression

    scores, which = np.unique(np.concatenate([hidden, random]), return_inverse=True)
    hidden_share = np.bincount(which[: len(hidden)], minlength=len(scores)) / len(hidden)
    random_share = np.bincount(which[len(hidden) :], minlength=len(scores)) / len(random)
    frequency = hidden_share + random_share
    probability = isotonic_regression(hidden_share / frequency, sample_weight=frequency)
    is_half = np.abs(probability - 0.5) <= NO_INFORMATION
    return Calibration(scores, np.where(is_half, 0.5 - NO_INFORMATION, probability))
