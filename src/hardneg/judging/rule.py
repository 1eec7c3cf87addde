"""Rule-based judge: a candidate is a suspect where its path code shares a long prefix with an item of the history.

DTL-NS (arXiv 2602.18249) prompts an LLM to compare the lengths of common prefixes, and defines no threshold. Here the
score is the longest common prefix with the history in either tree. Training pairs calibrate the threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from hardneg.config import PerRow, Seed
from hardneg.data.interactions import Interactions
from hardneg.judging.calibration import Calibration, hide_items
from hardneg.judging.judge import Judge, JudgeConfig, JudgeInputs, gather_histories
from hardneg.trees import Trees, best_in_history
from hardneg.types import Floats, Indices

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

    See `Calibration.isotonic`. The trees were built with the hidden pairs, so the separation is optimistic for new
    pairs. Raises DataError where no user has two training items.
    """
    hidden = hide_items(train, against=against, seed=seed)
    scores = best_prefix_scores(codes, hidden.starts, hidden.rest, hidden.candidates, by)
    return Calibration.isotonic(scores[:, 0], scores[:, 1:].ravel())
