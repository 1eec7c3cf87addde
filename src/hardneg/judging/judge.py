"""The interface of judges, their options and names, and controls: judges that ignore the candidates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import Field

from hardneg.config import Seed
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import ChatModel
from hardneg.plugins import PluginConfig, Registry
from hardneg.random import Stream
from hardneg.text.generation.executor import LlmExecutor
from hardneg.trees import Trees
from hardneg.types import Floats, Indices


class Judge(Protocol):
    """Estimates the probability that a user likes a candidate, an item without an observed interaction."""

    @property
    def name(self) -> str:
        """Name in tables and manifests."""
        ...

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return the probabilities (users, n) in [0, 1] that users (users,) like their candidates (users, n).

        NaN means no label: for padding (candidate -1), and where the judge has no result.
        """
        ...


@runtime_checkable
class ScoredJudge(Protocol):
    """A judge whose probabilities come from scores, which are kept beside them."""

    def judge(self, users: Indices, candidates: Indices) -> tuple[Floats, Floats]:
        """Return scores of any range and probabilities, (users, n) each; arguments as for `Judge.probabilities`."""
        ...


@dataclass(frozen=True)
class JudgementIssue:
    """An unusable answer or row of a file, or a candidate that cannot be judged.

    item: candidate that gets no label because of it, None where no candidate is concerned. entry: the unusable entry of
    an answer. ids: user and item ids of an unusable row of a file.
    """

    user: int
    item: int | None
    reason: str
    entry: str = ""
    ids: tuple[str | None, str | None] | None = None


@dataclass(frozen=True)
class JudgeInputs:
    """Inputs from which a judge is built.

    split: its training pairs are the histories. executor, model_info: a language model. issues: list to which judges
    append while they judge.
    """

    split: Split
    trees: Trees | None = None
    executor: LlmExecutor | None = None
    model_info: ChatModel | None = None
    issues: list[JudgementIssue] = field(default_factory=list)

    def codes(self, judge: str) -> Trees:
        """Return the path codes. Raises ConfigError without trees."""
        if self.trees is None:
            raise ConfigError(f"judge {judge!r} needs path codes, found no trees; pass --trees FOLDER")
        return self.trees

    def model(self, judge: str) -> tuple[LlmExecutor, ChatModel]:
        """Return the language model. Raises ConfigError without one."""
        if self.executor is None or self.model_info is None:
            raise ConfigError(f"judge {judge!r} needs a language model, found none; pass --llm MODEL")
        return self.executor, self.model_info


def gather_histories(train: Interactions, users: Indices) -> tuple[Indices, Indices]:
    """Concatenate the histories of users: starts (users + 1,) and items; users[k] has items[starts[k]:starts[k + 1]]."""
    starts, places = train.places_of(users)
    return starts, train.items[places]


JUDGES = Registry(
    "judge",
    "hardneg.judges",
    {
        "rule": "hardneg.judging.rule:PrefixRule",
        "random": "hardneg.judging.judge:RandomLabels",
        "all": "hardneg.judging.judge:AllPositive",
        "recorded": "hardneg.judging.recorded:RecordedLabels",
        "llm": "hardneg.judging.llm_judge:LlmOnCodes",
        "llm-logprob": "hardneg.judging.llm_judge:LlmProbabilities",
        "titles": "hardneg.judging.llm_judge:LlmOnTitles",
        "likelihood": "hardneg.judging.likelihood:TitleLikelihood",
    },
)


class JudgeConfig(PluginConfig):
    """Options of a judge. A field of this type accepts every judge by its `kind`."""

    registry: ClassVar[Registry] = JUDGES
    reads_trees: ClassVar[bool] = False
    """True for a judge that compares path codes."""
    queries_llm: ClassVar[bool] = False
    """True for a judge that prompts a language model."""

    @abstractmethod
    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError where `inputs` lack something that it needs."""
        ...


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
    seed: Seed = 0
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
