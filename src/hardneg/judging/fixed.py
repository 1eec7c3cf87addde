"""Controls: judges that ignore the candidates."""

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
    """Labels every candidate as a false negative."""

    kind: Literal["all"] = "all"

    def build(self, inputs: JudgeInputs) -> Judge:  # noqa: ARG002
        """Return the judge."""
        return RandomJudge(1.0, 0, "all")


class RandomLabels(JudgeConfig):
    """Labels a random share of the candidates as false negatives."""

    kind: Literal["random"] = "random"
    rate: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Expected share of false negatives, 0 to 1."""
    seed: int = 0
    """Seed of the labels."""

    def build(self, inputs: JudgeInputs) -> Judge:  # noqa: ARG002
        """Return the judge."""
        return RandomJudge(self.rate, self.seed, f"random {self.rate:.4g}")


@dataclass(frozen=True)
class RandomJudge:
    """Probability 1 for a share `rate` of the candidates, 0 for the others.

    A label is a function of the seed, the user and the rank of the candidate, independent of the other users.
    """

    rate: float
    seed: int
    name: str

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return 0 or 1 for every candidate, (users, n), and NaN for padding (-1)."""
        units = Stream(self.seed, "random judge", 0).uniform(users, candidates.shape[1])
        return np.where(candidates >= 0, (units < self.rate).astype(float), np.nan)
