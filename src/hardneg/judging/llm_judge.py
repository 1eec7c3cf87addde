"""Judges that ask a language model: about path codes or titles, many candidates a call, or for a label's probability."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from hardneg.judging.config import JudgeConfig
from hardneg.judging.judge import Judge, JudgeInputs, JudgementIssue
from hardneg.judging.judge_prompts import CodePrompts, JudgePrompts, TitlePrompts
from hardneg.judging.replies import Verdict, probability_of_positive, verdict_parser
from hardneg.llm.protocol import Reply
from hardneg.llm.tasks import Task
from hardneg.text.generation.executor import LlmExecutor
from hardneg.types import Floats, Indices

MOST_PER_CALL = 200
NO_CANDIDATE = "the answer names what is no candidate"


class _LlmConfig(JudgeConfig):
    queries_llm: ClassVar[bool] = True


class _PerCall(_LlmConfig):
    per_call: Annotated[int, Field(ge=1, le=MOST_PER_CALL)] | None = None
    """Candidates of one user in a call; all if None, 1 as in the release of DTL-NS."""
    reverse: bool = False
    """A control: the candidates of a call in the opposite order; a judge that reads them should not mind."""


class LlmOnCodes(_PerCall):
    """A language model on path codes (DTL-NS, section 3.2); its closed answer lists the positive candidates."""

    reads_trees: ClassVar[bool] = True
    kind: Literal["llm"] = "llm"

    def build(self, inputs: JudgeInputs) -> Judge:
        """It needs path codes and a model."""
        prompts = CodePrompts(inputs.train, inputs.codes(self.kind))
        return _asked(self.kind, inputs, prompts, self.per_call, self.reverse)


class LlmOnTitles(_PerCall):
    """A language model on titles: the same question, answered from what the items are."""

    kind: Literal["titles"] = "titles"
    longest_title: PositiveInt = 200
    """Characters."""

    def build(self, inputs: JudgeInputs) -> Judge:
        """It needs a model, and item titles in the split."""
        _, model_info = inputs.model(self.kind)
        prompts = TitlePrompts(inputs.split, model_info.chat_markers, self.longest_title)
        return _asked(self.kind, inputs, prompts, self.per_call, self.reverse)


class LlmProbabilities(_LlmConfig):
    """A language model on path codes whose label is a probability, read and not written; a call a candidate."""

    reads_trees: ClassVar[bool] = True
    kind: Literal["llm-logprob"] = "llm-logprob"

    def build(self, inputs: JudgeInputs) -> Judge:
        """It needs path codes and a model that gives probabilities of choices."""
        prompts = CodePrompts(inputs.train, inputs.codes(self.kind), one=True)
        return _asked(self.kind, inputs, prompts, 1, reverse=False, graded=True)


def _asked(
    kind: str,
    inputs: JudgeInputs,
    prompts: JudgePrompts,
    per_call: int | None,
    reverse: bool,
    *,
    graded: bool = False,
) -> LlmJudge:
    executor, model_info = inputs.model(kind)
    return LlmJudge(f"{kind} {model_info.name}", prompts, executor, inputs.issues, per_call, reverse, graded)


@dataclass(frozen=True)
class JudgeCall:
    """Candidates that go out together: a row of the users, and places in it, in the order in which they are numbered."""

    row: int
    places: Indices


@dataclass(frozen=True)
class LlmJudge:
    """Asks, and reads the answers; 0 or 1 each, or a probability where it is `graded`.

    faults: gets what could not be used. A call without a usable answer leaves its candidates without a label, after the
    asker asked again as often as it does; what an answer names besides the candidates is dropped.
    """

    name: str
    prompts: JudgePrompts
    executor: LlmExecutor
    issues: list[JudgementIssue]
    per_call: int | None = None
    reverse: bool = False
    graded: bool = False

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """(users, n); NaN for -1 and for what has no label."""
        found = np.full(candidates.shape, np.nan)
        calls = list(self.calls(users, candidates))

        def tasks() -> Iterator[Task[Any]]:
            for number, call in enumerate(calls):
                items = candidates[call.row, call.places]
                yield Task(number, self.prompts.request(int(users[call.row]), items), self._parser(len(items)))

        for answer in self.executor(tasks(), len(calls)):
            call = calls[answer.row]
            user, items = int(users[call.row]), candidates[call.row, call.places]
            if answer.value is None:
                self.issues.extend([JudgementIssue(user, item, answer.reason) for item in items.tolist()])
            else:
                found[call.row, call.places] = self._labels(user, len(items), answer.value)
        self._name_the_unknown(users, candidates)
        return found

    def calls(self, users: Indices, candidates: Indices) -> Iterator[JudgeCall]:
        """The calls, users in their order, candidates by rank, or from the last on where reversed."""
        for row in range(len(users)):
            places = np.flatnonzero(candidates[row] >= 0)
            known = [not self.prompts.unknown(int(users[row]), item) for item in candidates[row, places].tolist()]
            places = places[np.array(known, bool)]
            size = self.per_call or max(len(places), 1)
            for start in range(0, len(places), size):
                chosen = places[start : start + size]
                yield JudgeCall(row, chosen[::-1] if self.reverse else chosen)

    def _parser(self, n: int) -> Callable[[Reply], Any]:
        return probability_of_positive if self.graded else verdict_parser(n)

    def _labels(self, user: int, n: int, value: Verdict | float) -> Floats:
        if isinstance(value, float):
            return np.full(n, value)
        self.issues.extend([JudgementIssue(user, None, NO_CANDIDATE, said) for said in value.foreign])
        labels = np.zeros(n)
        labels[np.array(value.positive, np.int64) - 1] = 1.0
        return labels

    def _name_the_unknown(self, users: Indices, candidates: Indices) -> None:
        rows, places = np.nonzero(candidates >= 0)
        for user, item in zip(users[rows].tolist(), candidates[rows, places].tolist(), strict=True):
            if reason := self.prompts.unknown(user, item):
                self.issues.append(JudgementIssue(user, item, reason))
