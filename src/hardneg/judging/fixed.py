"""Judges that look at nothing: all candidates liked, or as many as another judge calls liked, at random. Controls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from hardneg.judging.config import JudgeConfig
from hardneg.judging.judge import Judge, JudgeInputs
from hardneg.random import Stream
from hardneg.types import Floats, Indices


class AllPositive(JudgeConfig):
    """Every candidate is liked."""

    kind: Literal["all"] = "all"

    def build(self, inputs: JudgeInputs) -> Judge:  # noqa: ARG002 - as every judge is built
        """It needs nothing."""
        return RandomJudge(1.0, 0, "all")


class RandomLabels(JudgeConfig):
    """A share of the candidates is liked, whoever's they are."""

    kind: Literal["random"] = "random"
    rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of liked candidates, in expectation."""
    seed: int = 0

    def build(self, inputs: JudgeInputs) -> Judge:  # noqa: ARG002 - as every judge is built
        """It needs nothing."""
        return RandomJudge(self.rate, self.seed, f"random {self.rate:.4g}")


@dataclass(frozen=True)
class RandomJudge:
    """Probability 1 for a share `rate` of candidates, 0 for the others.

    A label is a function of the seed, the user and the candidate's rank, whoever else is judged.
    """

    rate: float
    seed: int
    name: str

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n) of 0 and 1; NaN for -1."""
        units = Stream(self.seed, "random judge", 0).uniform(users, candidates.shape[1])
        return np.where(candidates >= 0, (units < self.rate).astype(float), np.nan)
