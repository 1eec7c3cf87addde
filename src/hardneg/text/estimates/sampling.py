"""Sampled requests of an estimate: profiles and pairs are sent, and the replies' usage is averaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TypeVar

import numpy as np

from hardneg.llm.protocol import ChatModel, Reply, Request, Task, TaskAnswer
from hardneg.text.estimates.cost_estimate import FOLLOW_UPS, ITEMS, NEGATIVES, USERS
from hardneg.text.generation.executor import LlmExecutor, observe_replies
from hardneg.text.generation.negative_generation import NegativesConfig, PairPrompts, answer_calls
from hardneg.text.generation.profile_generation import ItemPrompts, UserPrompts, request_profiles
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

T = TypeVar("T")
OTHER_ITEMS = "items in prompts of the sample"


@dataclass(frozen=True)
class SampledUsage:
    """Mean usage of a request of one stage, with all its replies.

    calls: replies per request. prompt: prompt tokens that the model counted, relative to those that we count in the
    request. answer: answer tokens per unit (request, or pair where several share a request). prompt_error,
    answer_error: their standard errors, None where assumed. seconds: per call, None where assumed.
    """

    calls: float
    prompt: float
    answer: float
    prompt_error: float | None = None
    answer_error: float | None = None
    seconds: float | None = None


@dataclass
class RecordingExecutor:
    """An executor that records the request and all replies, bad ones included, of every row.

    units: units of a row's request, 1 where absent.
    """

    executor: LlmExecutor
    requests: dict[int, Request] = field(default_factory=dict)
    replies: dict[int, list[Reply]] = field(default_factory=dict)
    units: dict[int, int] = field(default_factory=dict)

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Yield the answers of the wrapped executor."""

        def record(task: Task[T], reply: Reply) -> None:
            self.requests[task.row] = task.request
            self.replies.setdefault(task.row, []).append(reply)

        return self.executor(observe_replies(tasks, record), total)

    @property
    def calls(self) -> int:
        """Number of recorded replies."""
        return sum(map(len, self.replies.values()))

    def usage(self, model: ChatModel) -> SampledUsage | None:
        """Average the recorded replies; None without any."""
        if not self.replies:
            return None
        answers = [sum(reply.usage.answer_tokens for reply in replies) for replies in self.replies.values()]
        prompts = [sum(reply.usage.prompt_tokens for reply in replies) for replies in self.replies.values()]
        answer, answer_error = ratio(answers, [self.units.get(row, 1) for row in self.replies])
        prompt, prompt_error = ratio(prompts, [max(model.count_tokens(self.requests[row]), 1) for row in self.replies])
        seconds = sum(reply.seconds for replies in self.replies.values() for reply in replies) / self.calls
        return SampledUsage(self.calls / len(answers), prompt, answer, prompt_error, answer_error, seconds)


def ratio(amounts: Sequence[float], sizes: Sequence[float]) -> tuple[float, float]:
    """Return sum(amounts) / sum(sizes) and its standard error, which for a single amount is the ratio itself."""
    amount, size = np.array(amounts, float), np.array(sizes, float)
    mean = float(amount.sum() / size.sum())
    if len(size) == 1:
        return mean, mean
    spread = float(np.sum((amount - mean * size) ** 2) / (len(size) - 1)) ** 0.5
    return mean, spread * len(size) ** 0.5 / float(size.sum())


def sample_profiles(
    items: ItemPrompts,
    negatives: NegativesConfig | None,
    rows: Mapping[str, Indices],
    recorders: Mapping[str, RecordingExecutor],
) -> tuple[dict[int, str], dict[int, str]]:
    """Generate profiles of the sampled items and users, and of all items in the prompts of these users and pairs.

    Every request is one that the job makes too, so no reply is paid for twice. Usage per item is measured on the
    sampled items alone, because the items of users are the popular ones. rows: sampled rows by stage. Returns profiles
    by item and by user.
    """
    split, model = items.split, items.model
    users = UserPrompts(split, [""] * len(items), model, items.config)
    shown = [users.shown_pairs(int(user)) for user in rows[USERS]]
    if negatives is not None:
        placeholders = Profiles(["?"] * len(items), ["?"] * len(users), "")
        shown += groups_with(PairPrompts(split, placeholders, model, negatives), rows[NEGATIVES])
    others = np.setdiff1d(split.train.items[np.concatenate([np.empty(0, np.int64), *shown])], rows[ITEMS])
    by_item = _generate(items, rows[ITEMS], recorders[ITEMS]) | _generate(items, others, recorders[OTHER_ITEMS])
    users = replace(users, item_profiles=[by_item.get(item, "") for item in range(len(items))])
    return by_item, _generate(users, rows[USERS], recorders[USERS])


def _generate(prompts: ItemPrompts | UserPrompts, rows: Indices, executor: RecordingExecutor) -> dict[int, str]:
    answers = request_profiles(prompts, executor, rows)
    return {int(row): answer.text for row, answer in zip(rows, answers, strict=True)}


def sample_pairs(
    prompts: PairPrompts, pairs: Indices, recorders: Mapping[str, RecordingExecutor]
) -> tuple[float, float]:
    """Send the calls that contain these pairs, and follow-ups for pairs without an answer.

    Returns the share of pairs that shared a call and got no answer, and its standard error.
    """
    groups, draws = groups_with(prompts, pairs), range(prompts.config.n)
    calls = [(group, draw) for group in groups for draw in draws]
    recorders[NEGATIVES].units |= {number: len(group) for number, (group, _) in enumerate(calls)}
    answers = list(answer_calls(prompts, recorders[NEGATIVES], calls))
    failed = {(pair, draw) for pair, draw, answer in answers if not answer.answered}
    shared = [group for group in groups if len(group) > 1]
    unanswered = [[(np.array([pair]), k) for pair in group for k in draws if (pair, k) in failed] for group in shared]
    list(answer_calls(prompts, recorders[FOLLOW_UPS], list(chain(*unanswered))))
    return ratio(list(map(len, unanswered)), [len(group) * len(draws) for group in shared]) if shared else (0.0, 0.0)


def groups_with(prompts: PairPrompts, pairs: Indices) -> list[Indices]:
    """Return the groups of pair indices that share a call with these pairs."""
    groups = prompts.groups()
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return [groups[number] for number in np.unique(numbers[np.isin(prompts.prompted_pairs, pairs)])]
