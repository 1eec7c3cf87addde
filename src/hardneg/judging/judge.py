"""The interface of judges, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import ChatModel
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

    @property
    def train(self) -> Interactions:
        """Training pairs, the histories of the users."""
        return self.split.train

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
    counts = train.counts[users]
    starts = np.concatenate([[0], np.cumsum(counts)])
    places = np.arange(starts[-1]) + np.repeat(train.starts[users] - starts[:-1], counts)
    return starts, train.items[places]
