"""A small sample of the real requests, asked beforehand: what it says of the answers to all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from hardneg.data.split import Split
from hardneg.llm.protocol import Reply, Request
from hardneg.llm.tasks import Task, TaskAnswer
from hardneg.text.generation.executor import LlmExecutor, ModelInfo, observe_replies
from hardneg.text.generation.negative_generation import NegativeRequests
from hardneg.text.generation.negative_prompts import NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import request_profiles
from hardneg.text.generation.profile_prompts import ITEM_PROMPT, USER_PROMPT, ItemPrompts, ProfilesConfig, UserPrompts
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

T = TypeVar("T")


@dataclass
class RecordingExecutor:
    """An asker that keeps what passes through it: of every row the request and all replies, bad ones too."""

    asker: LlmExecutor
    requests: dict[int, Request] = field(default_factory=dict)
    replies: dict[int, list[Reply]] = field(default_factory=dict)

    def __call__(self, tasks: Iterable[Task[T]], total: int) -> Iterator[TaskAnswer[T]]:
        """Pass every answer on."""

        def hear(task: Task[T], reply: Reply) -> None:
            self.requests[task.row] = task.request
            self.replies.setdefault(task.row, []).append(reply)

        return self.asker(observe_replies(tasks, hear), total)

    @property
    def calls(self) -> int:
        """Replies heard."""
        return sum(map(len, self.replies.values()))


@dataclass(frozen=True)
class SampledUsage:
    """What a request of a stage takes, all its replies together.

    calls: replies a request. prompt: prompt tokens that the model counted, to those that we count in the request.
    answer: answer tokens a unit (a request; or a pair, where several share one). prompt_error, answer_error: their
    standard errors, None where they are assumed. seconds: a call, None where assumed.
    """

    calls: float
    prompt: float
    answer: float
    prompt_error: float | None = None
    answer_error: float | None = None
    seconds: float | None = None

    @classmethod
    def of(
        cls, heard: RecordingExecutor, view: ModelInfo, units: Mapping[int, int] | None = None
    ) -> SampledUsage | None:
        """From all that was heard; None where nothing was. units: of each row's request, 1 if not given."""
        rows = list(heard.replies)
        if not rows:
            return None
        replies = [heard.replies[row] for row in rows]
        answers = [sum(reply.usage.answer_tokens for reply in said) for said in replies]
        prompts = [sum(reply.usage.prompt_tokens for reply in said) for said in replies]
        answer, answer_error = ratio(answers, [1 if units is None else units[row] for row in rows])
        prompt, prompt_error = ratio(prompts, [max(view.count_tokens(heard.requests[row]), 1) for row in rows])
        seconds = sum(reply.seconds for said in replies for reply in said) / heard.calls
        return cls(heard.calls / len(rows), prompt, answer, prompt_error, answer_error, seconds)


def ratio(amounts: Sequence[float], sizes: Sequence[float]) -> tuple[float, float]:
    """Sum of the amounts to the sum of the sizes, and its standard error; a single one tells nothing, so all of it."""
    amount, size = np.array(amounts, float), np.array(sizes, float)
    found = float(amount.sum() / size.sum())
    if len(size) == 1:
        return found, found
    spread = float(np.sum((amount - found * size) ** 2) / (len(size) - 1)) ** 0.5
    return found, spread * len(size) ** 0.5 / float(size.sum())


@dataclass(frozen=True)
class SampledProfiles:
    """Profiles of some items and users that were really written, and what that took; nothing without a sample."""

    items: dict[int, str] = field(default_factory=dict)
    users: dict[int, str] = field(default_factory=dict)
    of_items: SampledUsage | None = None
    of_users: SampledUsage | None = None
    calls: int = 0


@dataclass(frozen=True)
class SampledPairs:
    """What asking about some pairs took.

    of_calls: a call, its answer by pair. left: share of pairs that shared a call and were left without an answer, and its
    standard error. of_singles: what was asked again singly, None where nothing was.
    """

    of_calls: SampledUsage | None = None
    left: tuple[float, float] = (0.0, 0.0)
    of_singles: SampledUsage | None = None
    calls: int = 0


def sample_profiles(
    split: Split,
    view: ModelInfo,
    profiles: ProfilesConfig,
    negatives: NegativesConfig | None,
    asker: LlmExecutor,
    *,
    items: Indices,
    users: Indices,
    pairs: Indices,
) -> SampledProfiles:
    """Have these items and users described, and all items that the users and the calls about the pairs are shown.

    So every request is one that the job will make, and none is asked twice. What items take is learnt from `items`
    alone: those that users are shown are the popular ones.
    """
    of_items, besides, of_users = RecordingExecutor(asker), RecordingExecutor(asker), RecordingExecutor(asker)
    prompts = ItemPrompts(split, view, profiles)
    known = _described(prompts, ITEM_PROMPT, items, of_items, view)
    shown = UserPrompts(split, [""] * len(prompts), view, profiles)
    rows = [shown.pair_rows(int(user)) for user in users]
    if negatives is not None:
        everybody = Profiles(["?"] * len(prompts), ["?"] * len(shown), "")
        rows += groups_with(PairPrompts(split, everybody, view, negatives), pairs)
    needed = np.setdiff1d(split.train.items[np.concatenate(rows)], items)
    known |= _described(prompts, ITEM_PROMPT, needed, besides, view)
    texts = [known.get(item, "") for item in range(len(prompts))]
    written = _described(UserPrompts(split, texts, view, profiles), USER_PROMPT, users, of_users, view)
    calls = of_items.calls + besides.calls + of_users.calls
    return SampledProfiles(known, written, SampledUsage.of(of_items, view), SampledUsage.of(of_users, view), calls)


def sample_pairs(prompts: PairPrompts, pairs: Indices, asker: LlmExecutor) -> SampledPairs:
    """Ask the calls in which these pair rows are, and again singly what they leave out."""
    groups, n = groups_with(prompts, pairs), prompts.config.n
    of_calls, of_singles = RecordingExecutor(asker), RecordingExecutor(asker)
    answers = list(NegativeRequests(prompts, of_calls).groups(groups))
    shared = [rows for rows in groups if len(rows) > 1]
    unanswered = {(row, draw) for row, draw, answer in answers if isinstance(answer, str)}
    left = [[(row, draw) for row in rows.tolist() for draw in range(n) if (row, draw) in unanswered] for rows in shared]
    list(NegativeRequests(prompts, of_singles).singles([at for some in left for at in some]))
    sizes = {number * n + draw: len(rows) for number, rows in enumerate(groups) for draw in range(n)}
    return SampledPairs(
        SampledUsage.of(of_calls, prompts.view, sizes),
        ratio([len(some) for some in left], [len(rows) * n for rows in shared]) if shared else (0.0, 0.0),
        SampledUsage.of(of_singles, prompts.view),
        of_calls.calls + of_singles.calls,
    )


def groups_with(prompts: PairPrompts, pairs: Indices) -> list[Indices]:
    """The groups of pair rows that share a call with these."""
    groups = prompts.groups()
    numbers = np.repeat(np.arange(len(groups)), [len(rows) for rows in groups])
    return [groups[number] for number in np.unique(numbers[np.isin(prompts.askable, pairs)])]


def _described(
    prompts: ItemPrompts | UserPrompts, name: str, rows: Indices, heard: RecordingExecutor, view: ModelInfo
) -> dict[int, str]:
    answers = request_profiles(prompts, name, heard, view, rows)
    return {int(row): answer.text for row, (answer, _) in zip(rows, answers, strict=True)}
