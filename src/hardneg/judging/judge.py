"""What a judge is: it gives a user's candidates the probability that the user likes them."""

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
    """Judges candidates; histories, codes, texts or a model were given when it was built."""

    @property
    def name(self) -> str:
        """What to call it in tables and manifests."""
        ...

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n) probabilities in [0, 1] that users (users,) like their candidates (users, n).

        NaN where there is no label: for a candidate of -1, which is no item, and where the judge could not tell.
        """
        ...


@dataclass(frozen=True)
class JudgementIssue:
    """Something that a judge could not use: an answer, or a candidate about which nothing is known.

    item: the candidate that stays without a label for it; None where what was said is of no candidate. said: what
    stands in the answer, where that is an id or a number. ids: user and item as a file has them, where they are what
    cannot be used.
    """

    user: int
    item: int | None
    reason: str
    said: str = ""
    ids: tuple[str | None, str | None] | None = None


@dataclass(frozen=True)
class JudgeInputs:
    """What judges are built from; each takes what it needs and says so where that is not there.

    split: its train pairs are the histories. asker, view: a language model. faults: where judges put what they could
    not use; it grows while they judge.
    """

    split: Split
    trees: Trees | None = None
    executor: LlmExecutor | None = None
    model_info: ChatModel | None = None
    issues: list[JudgementIssue] = field(default_factory=list)

    @property
    def train(self) -> Interactions:
        """The histories."""
        return self.split.train

    def codes(self, judge: str) -> Trees:
        """The path codes. Raises ConfigError where there are none."""
        if self.trees is None:
            raise ConfigError(f"judge {judge} compares path codes and found none; give --trees")
        return self.trees

    def model(self, judge: str) -> tuple[LlmExecutor, ChatModel]:
        """The language model. Raises ConfigError where there is none."""
        if self.executor is None or self.model_info is None:
            raise ConfigError(f"judge {judge} asks a language model and found none; give --llm")
        return self.executor, self.model_info


def gather_histories(train: Interactions, users: Indices) -> tuple[Indices, Indices]:
    """Histories of some users in a row: starts (users + 1,) and items, those of users[k] in starts[k]:starts[k + 1]."""
    counts = train.counts[users]
    starts = np.concatenate([[0], np.cumsum(counts)])
    places = np.arange(starts[-1]) + np.repeat(train.starts[users] - starts[:-1], counts)
    return starts, train.items[places]
