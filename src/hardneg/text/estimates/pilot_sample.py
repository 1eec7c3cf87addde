"""A pilot sample: some of the job's real requests, sent beforehand to measure the lengths of answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hardneg.data.split import Split
from hardneg.llm.protocol import ChatModel, Reply, Request
from hardneg.llm.tasks import Task, TaskAnswer
from hardneg.text.generation.executor import LlmExecutor, observe_replies
from hardneg.text.generation.negative_generation import NegativeRequests
from hardneg.text.generation.negative_prompts import NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import request_profiles
from hardneg.text.generation.profile_prompts import ITEM_PROMPT, USER_PROMPT, ItemPrompts, ProfilesConfig, UserPrompts
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

T = TypeVar("T")


@dataclass
class RecordingExecutor:
    """An executor that records the request and all replies, bad ones included, of every row."""

    executor: LlmExecutor
    requests: dict[int, Request] = field(default_factory=dict)
    replies: dict[int, list[Reply]] = field(default_factory=dict)

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

    @classmethod
    def of(
        cls, recorder: RecordingExecutor, model: ChatModel, units: Mapping[int, int] | None = None
    ) -> SampledUsage | None:
        """Average the recorded replies; None without any. units: units of each row's request, by default 1."""
        rows = list(recorder.replies)
        if not rows:
            return None
        replies = [recorder.replies[row] for row in rows]
        answers = [sum(reply.usage.answer_tokens for reply in of_row) for of_row in replies]
        prompts = [sum(reply.usage.prompt_tokens for reply in of_row) for of_row in replies]
        answer, answer_error = ratio(answers, [1 if units is None else units[row] for row in rows])
        prompt, prompt_error = ratio(prompts, [max(model.count_tokens(recorder.requests[row]), 1) for row in rows])
        seconds = sum(reply.seconds for of_row in replies for reply in of_row) / recorder.calls
        return cls(recorder.calls / len(rows), prompt, answer, prompt_error, answer_error, seconds)


def ratio(amounts: Sequence[float], sizes: Sequence[float]) -> tuple[float, float]:
    """Return sum(amounts) / sum(sizes) and its standard error, which for a single amount is the ratio itself."""
    amount, size = np.array(amounts, float), np.array(sizes, float)
    mean = float(amount.sum() / size.sum())
    if len(size) == 1:
        return mean, mean
    spread = float(np.sum((amount - mean * size) ** 2) / (len(size) - 1)) ** 0.5
    return mean, spread * len(size) ** 0.5 / float(size.sum())


@dataclass(frozen=True)
class SampledProfiles:
    """Generated profiles of sampled items and users, with their usage; empty without a sample."""

    items: dict[int, str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    item_usage: SampledUsage | None = None
    user_usage: SampledUsage | None = None
    calls: int = 0

    @property
    def errors(self) -> tuple[float | None, float | None]:
        """Standard errors of the lengths of an item and a user profile; None without a sample."""
        item, user = (None if u is None else u.answer_error for u in (self.item_usage, self.user_usage))
        return item, user


@dataclass(frozen=True)
class SampledPairs:
    """Usage of sampled pairs.

    usage: of a call, its answer per pair. unanswered: share of pairs that shared a call and got no answer, with its
    standard error. follow_up_usage: of their follow-ups, None without any.
    """

    usage: SampledUsage | None = None
    unanswered: tuple[float, float] = (0.0, 0.0)
    follow_up_usage: SampledUsage | None = None
    calls: int = 0


def sample_profiles(
    split: Split,
    model: ChatModel,
    profiles: ProfilesConfig,
    negatives: NegativesConfig | None,
    executor: LlmExecutor,
    *,
    items: Indices,
    users: Indices,
    pairs: Indices,
) -> SampledProfiles:
    """Generate profiles of these items and users, and of all items in the prompts of these users and pairs.

    Every request is one that the job makes too, so no reply is paid for twice. Usage per item is measured on `items`
    alone, because the items of users are the popular ones.
    """
    item_recorder, other_recorder, user_recorder = (RecordingExecutor(executor) for _ in range(3))
    item_prompts = ItemPrompts(split, model, profiles)
    item_profiles = _generate(item_prompts, ITEM_PROMPT, items, item_recorder, model)
    user_prompts = UserPrompts(split, [""] * len(item_prompts), model, profiles)
    shown = [user_prompts.shown_pairs(int(user)) for user in users]
    if negatives is not None:
        placeholders = Profiles(["?"] * len(item_prompts), ["?"] * len(user_prompts), "")
        shown += groups_with(PairPrompts(split, placeholders, model, negatives), pairs)
    other_items = np.setdiff1d(split.train.items[np.concatenate(shown)], items)
    item_profiles |= _generate(item_prompts, ITEM_PROMPT, other_items, other_recorder, model)
    texts = [item_profiles.get(item, "") for item in range(len(item_prompts))]
    user_profiles = _generate(UserPrompts(split, texts, model, profiles), USER_PROMPT, users, user_recorder, model)
    return SampledProfiles(
        item_profiles,
        user_profiles,
        SampledUsage.of(item_recorder, model),
        SampledUsage.of(user_recorder, model),
        item_recorder.calls + other_recorder.calls + user_recorder.calls,
    )


def sample_pairs(prompts: PairPrompts, pairs: Indices, executor: LlmExecutor) -> SampledPairs:
    """Send the calls that contain these pairs, and follow-ups for pairs without an answer."""
    groups, n = groups_with(prompts, pairs), prompts.config.n
    recorder, follow_up_recorder = RecordingExecutor(executor), RecordingExecutor(executor)
    answers = list(NegativeRequests(prompts, recorder).answer_groups(groups))
    shared = [group for group in groups if len(group) > 1]
    failed = {(pair, draw) for pair, draw, answer in answers if not answer.answered}
    unanswered = [
        [(pair, draw) for pair in group.tolist() for draw in range(n) if (pair, draw) in failed] for group in shared
    ]
    follow_ups = [pair_and_draw for group in unanswered for pair_and_draw in group]
    list(NegativeRequests(prompts, follow_up_recorder).answer_singly(follow_ups))
    sizes = {number * n + draw: len(group) for number, group in enumerate(groups) for draw in range(n)}
    return SampledPairs(
        SampledUsage.of(recorder, prompts.model, sizes),
        ratio(list(map(len, unanswered)), [len(group) * n for group in shared]) if shared else (0.0, 0.0),
        SampledUsage.of(follow_up_recorder, prompts.model),
        recorder.calls + follow_up_recorder.calls,
    )


def groups_with(prompts: PairPrompts, pairs: Indices) -> list[Indices]:
    """Return the groups of pair indices that share a call with these pairs."""
    groups = prompts.groups()
    numbers = np.repeat(np.arange(len(groups)), [len(group) for group in groups])
    return [groups[number] for number in np.unique(numbers[np.isin(prompts.prompted_pairs, pairs)])]


def _generate(
    prompts: ItemPrompts | UserPrompts, prompt_name: str, rows: Indices, executor: RecordingExecutor, model: ChatModel
) -> dict[int, str]:
    answers = request_profiles(prompts, prompt_name, executor, model, rows)
    return {int(row): answer.text for row, answer in zip(rows, answers, strict=True)}
