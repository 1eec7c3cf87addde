"""The rule in the place of a language model: liked is what goes a long way from the root with something bought.

DTL-NS (arXiv 2602.18249) asks a model to compare lengths of common prefixes and defines no threshold. Here the score is
the longest common prefix with the history in either tree, in levels, and train pairs set the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from numpy.random import Generator
from pydantic import Field, PositiveInt

from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.judging.config import JudgeConfig
from hardneg.judging.judge import Judge, JudgeInputs, gather_histories
from hardneg.random import Stream, generator
from hardneg.sampling.candidates import UniformCandidates
from hardneg.trees import Trees, best_in_history
from hardneg.types import Floats, Indices

NO_INFORMATION = 1e-9
"""A probability that is as near to 0.5 is one half but for rounding, which tells nothing of the score."""

SimilarityKind = Literal["levels", "share"]
"""How a common prefix is measured."""


class PrefixRule(JudgeConfig):
    """Prefix threshold on path codes."""

    reads_trees: ClassVar[bool] = True
    kind: Literal["rule"] = "rule"
    by: SimilarityKind = "levels"
    """levels: of the common prefix, as the paper's prompt has it. share: of the shorter code that they are, as its sampler
    has it; codes have different lengths."""
    threshold: Annotated[float, Field(gt=0)] | None = None
    """Score from which a candidate counts as liked (probability 0.5); without, hidden train pairs set it.

    They set it against items drawn evenly from all unobserved ones, with trees that have seen the hidden pairs. A
    model's top candidates are another crowd: 0.5 is not one half for them."""
    against: PositiveInt = 5
    """Random unobserved items beside each hidden train item."""
    seed: int = 0
    """Of what is hidden and drawn."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """It needs path codes."""
        train, codes = inputs.train, inputs.codes(self.kind)
        if self.threshold is not None:
            most = _depth(codes) if self.by == "levels" else 1.0
            return RuleJudge(train, codes, Calibration.at(self.threshold, most), self.by)
        found = calibrate_rule(train, codes, self.by, against=self.against, seed=self.seed)
        return RuleJudge(train, codes, found, self.by)


@dataclass(frozen=True)
class Calibration:
    """A rising map from scores (m,) ascending to probabilities (m,); straight lines between them."""

    scores: Floats
    probability: Floats

    @classmethod
    def at(cls, threshold: float, most: float) -> Calibration:
        """0 at score 0, 0.5 at the threshold, up to 1 at the largest score `most`.

        Raises ConfigError where no score reaches the threshold.
        """
        if threshold > most:
            raise ConfigError(f"found threshold {threshold:g}, expected at most {most:g}, the largest score; lower it")
        above = ([most], [1.0]) if threshold < most else ([], [])
        return cls(np.array([0.0, threshold, *above[0]]), np.array([0.0, 0.5, *above[1]]))

    def __call__(self, scores: Floats) -> Floats:
        """Probabilities of scores of any shape."""
        return np.interp(scores, self.scores, self.probability)

    @property
    def is_flat(self) -> bool:
        """True where all scores have one probability: nothing was learnt."""
        return bool(np.ptp(self.probability) <= 2 * NO_INFORMATION)

    @property
    def threshold(self) -> float:
        """The smallest score known here whose probability is 0.5 or more; infinite where none is."""
        liked = np.flatnonzero(self.probability >= 0.5)
        return float(self.scores[liked[0]]) if len(liked) else np.inf


@dataclass(frozen=True)
class RuleJudge:
    """Scores by `best_prefix_scores`, probabilities by the calibration."""

    train: Interactions
    codes: Trees
    calibration: Calibration
    by: SimilarityKind = "levels"

    @property
    def name(self) -> str:
        """With the threshold."""
        return f"rule {self.calibration.threshold:.3g} {self.by}"

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n); NaN for -1. A candidate without a code in either tree has score 0."""
        found = self.calibration(self.scores(users, candidates))
        return np.where(candidates >= 0, found, np.nan)

    def scores(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n) scores: levels, or shares in [0, 1]."""
        return best_prefix_scores(self.codes, *gather_histories(self.train, users), candidates, self.by)


def best_prefix_scores(
    codes: Trees, starts: Indices, history: Indices, candidates: Indices, by: SimilarityKind
) -> Floats:
    """The best common prefix of each candidate (users, n) with its user's history, in either tree: (users, n).

    starts, history: as `gather_histories` gives them. 0 where the candidate or the whole history has no code.
    """
    found = [best_in_history(tree, starts, history, candidates) for tree in (codes.structural, codes.semantic)]
    each = [best.prefix if by == "levels" else best.similarity for best in found]
    return np.maximum(*each).astype(float)


def calibrate_rule(
    train: Interactions, codes: Trees, by: SimilarityKind = "levels", *, against: int = 5, seed: int = 0
) -> Calibration:
    """Set the rule by train pairs alone: one item of each user is hidden, and compared with the others of that user.

    The probability of a score is that of a hidden item rather than a random unobserved one, both taken for equally
    frequent, made monotone (isotonic regression; Barlow et al., 1972). So probability 0.5 begins at the score that
    separates them best (largest true minus false positive rate). Scores that hidden and random items have equally often
    come to lie just below 0.5, else rounding would decide whether all or nobody is liked. The trees were grown with the hidden pairs, so that
    the separation looks better here than it is for new pairs. Raises DataError where no user has two train items.
    """
    users = np.flatnonzero(train.counts >= 2)
    if not len(users):
        raise DataError("no user has two train items, so nothing can be hidden; give the rule a threshold")
    hidden, starts, rest = hide_one_item(train, users, generator(seed, "hidden items"))
    drawn = UniformCandidates(train).draw(users, users, n=against, stream=Stream(seed, "beside hidden items", 0))
    scores = best_prefix_scores(codes, starts, rest, np.concatenate([hidden[:, None], drawn], axis=1), by)
    return _isotonic(scores[:, 0], scores[:, 1:].ravel())


def _depth(codes: Trees) -> float:
    return float(max(tree.lengths.max(initial=0) for tree in (codes.structural, codes.semantic)))


def hide_one_item(train: Interactions, users: Indices, rng: Generator) -> tuple[Indices, Indices, Indices]:
    """One item of each user, drawn evenly, and the rest of the histories: hidden (users,), starts (users + 1,), items."""
    starts, history = gather_histories(train, users)
    counts = np.diff(starts)
    places = starts[:-1] + (rng.random(len(users)) * counts).astype(np.int64)
    rest = np.delete(history, places)
    return history[places], starts - np.arange(len(starts)), rest


def _isotonic(liked: Floats, others: Floats) -> Calibration:
    from sklearn.isotonic import isotonic_regression

    scores, which = np.unique(np.concatenate([liked, others]), return_inverse=True)
    of_liked = np.bincount(which[: len(liked)], minlength=len(scores)) / len(liked)
    of_others = np.bincount(which[len(liked) :], minlength=len(scores)) / len(others)
    share = of_liked / (of_liked + of_others)
    probability = isotonic_regression(share, sample_weight=of_liked + of_others)
    tells_nothing = np.abs(probability - 0.5) <= NO_INFORMATION
    return Calibration(scores, np.where(tells_nothing, 0.5 - NO_INFORMATION, probability))
