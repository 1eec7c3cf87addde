"""LLM judges: on path codes or titles, with several candidates per call, or with the probability of a single label."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field, PositiveInt

from hardneg.judging.judge import Judge, JudgeConfig, JudgeInputs, JudgementIssue
from hardneg.judging.judge_prompts import (
    TOKENS_PER_NUMBER,
    CodePrompts,
    JudgePrompts,
    TitlePrompts,
    probability_of_positive,
    verdict_parser,
)
from hardneg.judging.suspects import UserCandidates
from hardneg.llm.protocol import ChatModel, Request, Task
from hardneg.text.estimates.cost_estimate import CostEstimate, StageEstimate
from hardneg.text.generation.executor import AnswerFactor, LlmExecutor, explain_missing
from hardneg.types import Floats, Indices

MAX_PER_CALL = 200
NO_CANDIDATE = "with an entry that is no candidate"
JUDGING = "judging"
LIMIT = 500
"""Maximum number of prompts that are counted, evenly spread over the calls."""
WRAPPING = 8
"""Tokens of an answer besides its numbers."""


class _ListingConfig(JudgeConfig):
    queries_llm: ClassVar[bool] = True
    per_call: Annotated[int, Field(ge=1, le=MAX_PER_CALL)] | None = None
    """Maximum number of candidates per call; None for all of a user. The released code of DTL-NS sends 1."""
    reverse: bool = False
    """Reverse the order of candidates in a call, as a control of the effect of their position."""
    answer_factor: AnswerFactor = 1.0
    """Factor on the maximum tokens of an answer; a model that thinks before it answers needs more."""

    @abstractmethod
    def _prompts(self, inputs: JudgeInputs) -> JudgePrompts: ...

    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError without a model, or without path codes where it reads them."""
        prompts, (executor, info) = self._prompts(inputs), inputs.model(self.kind)
        return LlmJudge(f"{self.kind} {info.name}", prompts, executor, inputs.issues, self.per_call, self.reverse)


class LlmOnCodes(_ListingConfig):
    """A language model reads path codes (DTL-NS, section 3.2) and lists the positive candidates."""

    reads_trees: ClassVar[bool] = True
    kind: Literal["llm"] = "llm"

    def _prompts(self, inputs: JudgeInputs) -> JudgePrompts:
        return CodePrompts(inputs.split.train, inputs.codes(self.kind), answer_factor=self.answer_factor)


class LlmOnTitles(_ListingConfig):
    """A language model reads titles and lists the positive candidates."""

    kind: Literal["titles"] = "titles"
    longest_title: PositiveInt = 200
    """Maximum characters of a title."""

    def _prompts(self, inputs: JudgeInputs) -> JudgePrompts:
        markers = inputs.model(self.kind)[1].chat_markers
        return TitlePrompts(inputs.split, markers, self.longest_title, self.answer_factor)


class LlmProbabilities(JudgeConfig):
    """A language model reads path codes; its probability of the label "positive" is used. One candidate per call."""

    queries_llm: ClassVar[bool] = True
    reads_trees: ClassVar[bool] = True
    kind: Literal["llm-logprob"] = "llm-logprob"

    def build(self, inputs: JudgeInputs) -> Judge:
        """Return the judge. Raises ConfigError without path codes or a model."""
        prompts = CodePrompts(inputs.split.train, inputs.codes(self.kind), single=True)
        executor, info = inputs.model(self.kind)
        return LlmJudge(f"{self.kind} {info.name}", prompts, executor, inputs.issues, per_call=1, graded=True)


@dataclass(frozen=True)
class LlmJudge:
    """Sends candidates to a language model: 0 or 1 each, or a probability where the judge is `graded`.

    issues: list that gets unusable answers and skipped candidates. The candidates of an unusable answer get no label,
    after the retries of the executor. Entries of an answer that are no candidates are ignored.
    """

    name: str
    prompts: JudgePrompts
    executor: LlmExecutor
    issues: list[JudgementIssue]
    per_call: int | None = None
    reverse: bool = False
    graded: bool = False

    def probabilities(self, users: Indices, candidates: Indices) -> Floats:
        """Return the probabilities (users, n), NaN for padding (-1) and for candidates without a label."""
        probabilities = np.full(candidates.shape, np.nan)
        calls = list(self.calls(users, candidates))

        def tasks() -> Iterator[Task[Any]]:
            for number, (row, places) in enumerate(calls):
                request = self.prompts.request(int(users[row]), candidates[row, places])
                yield Task(number, request, probability_of_positive if self.graded else verdict_parser(len(places)))

        for answer in self.executor(tasks(), len(calls)):
            (row, places), reply = calls[answer.row], answer.value
            user = int(users[row])
            if reply is None:
                reason = answer.reason if self.graded else explain_missing(answer, "answer_factor")
                issues = [JudgementIssue(user, item, reason) for item in candidates[row, places].tolist()]
                self.issues.extend(issues)
            elif self.graded:
                probabilities[row, places] = reply
            else:
                self.issues.extend([JudgementIssue(user, None, NO_CANDIDATE, entry) for entry in reply.foreign])
                probabilities[row, places] = 0.0
                probabilities[row, places[np.array(reply.positive, np.int64) - 1]] = 1.0
        rows, columns = np.nonzero(candidates >= 0)
        for user, item in zip(users[rows].tolist(), candidates[rows, columns].tolist(), strict=True):
            if reason := self.prompts.skip_reason(user, item):
                self.issues.append(JudgementIssue(user, item, reason))
        return probabilities

    def calls(self, users: Indices, candidates: Indices) -> Iterator[tuple[int, Indices]]:
        """Yield the row of the user and the columns of the candidates of each call, in the order of their numbers.

        Calls are ordered by user and by rank of the candidates, or from the last rank on where reversed.
        """
        for row in range(len(users)):
            places = np.flatnonzero(candidates[row] >= 0)
            sent = [not self.prompts.skip_reason(int(users[row]), item) for item in candidates[row, places].tolist()]
            places = places[np.array(sent, bool)]
            size = self.per_call or max(len(places), 1)
            for start in range(0, len(places), size):
                chosen = places[start : start + size]
                yield row, chosen[::-1] if self.reverse else chosen

    def first_requests(self, users: Indices, candidates: Indices, n: int) -> list[Request]:
        """Return the first n requests."""
        calls = islice(self.calls(users, candidates), n)
        return [self.prompts.request(int(users[row]), candidates[row, places]) for row, places in calls]


def estimate_judging(
    judge: LlmJudge, candidates: UserCandidates, model_info: ChatModel, limit: int = LIMIT
) -> CostEstimate:
    """Estimate calls and tokens of judging the candidates.

    An answer is assumed to list every candidate. For a judge that reads probabilities, it is one token per candidate.
    """
    users, items = candidates.users, candidates.items
    calls = list(judge.calls(users, items))
    n_candidates = sum(len(places) for _, places in calls)

    def request(number: int) -> Request:
        row, places = calls[number]
        return judge.prompts.request(int(users[row]), items[row, places])

    tokens = count_prompt_tokens(request, len(calls), model_info, limit)
    answer = float(n_candidates if judge.graded else WRAPPING * len(calls) + TOKENS_PER_NUMBER * n_candidates)
    return CostEstimate(
        (StageEstimate(JUDGING, n_candidates, tokens.counted, len(calls), tokens.total, tokens.error, answer, None),)
    )


def time_judging(estimate: CostEstimate, requests: Sequence[Request], executor: LlmExecutor) -> CostEstimate:
    """Send some requests of the judge; return the estimate with their length of answers and their tokens a second.

    It is returned as it is where they have no replies.
    """
    tasks = (Task(row, request, lambda reply: reply) for row, request in enumerate(requests))
    replies = [answer.value for answer in executor(tasks, len(requests)) if answer.value is not None]
    seconds = sum(reply.seconds for reply in replies)
    if not seconds:
        return estimate
    answers = sum(reply.usage.answer_tokens for reply in replies)
    rate = (answers + sum(reply.usage.prompt_tokens for reply in replies)) / seconds
    timed = [replace(stage, answer_tokens=stage.calls * answers / len(replies)) for stage in estimate.stages]
    stages = (replace(stage, seconds_per_call=stage.tokens / rate / max(stage.calls, 1)) for stage in timed)
    return CostEstimate(tuple(stages), len(replies))


@dataclass(frozen=True)
class PromptTokenCount:
    """Tokens of all prompts, extrapolated from the counted ones, and their standard error."""

    total: float
    error: float
    counted: int


def count_prompt_tokens(
    request: Callable[[int], Request], n: int, model_info: ChatModel, limit: int = LIMIT
) -> PromptTokenCount:
    """Count the tokens of `limit` of n requests, evenly spread."""
    sampled = np.unique(np.linspace(0, n - 1, min(limit, n)).astype(np.int64)).tolist()
    tokens = np.array([model_info.count_tokens(request(number)) for number in sampled], float)
    if not len(tokens):
        return PromptTokenCount(0.0, 0.0, 0)
    error = n * tokens.std() * np.sqrt((1 - len(tokens) / n) / len(tokens))
    return PromptTokenCount(float(n * tokens.mean()), float(error), len(tokens))
