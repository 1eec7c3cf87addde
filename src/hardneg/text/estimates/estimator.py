"""Estimation of generation costs: prompts are built and counted, answers are sampled or assumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import Annotated, TypeVar

import numpy as np
from numpy.random import Generator
from pydantic import Field, NonNegativeInt, PositiveInt

from hardneg.config import Config
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import ChatModel, Message, Reply, Request
from hardneg.llm.tasks import Task, TaskAnswer
from hardneg.random import generator
from hardneg.text.estimates import cost_estimate
from hardneg.text.estimates.cost_estimate import CostEstimate, StageEstimate
from hardneg.text.generation.executor import LlmExecutor, observe_replies
from hardneg.text.generation.negative_generation import ONE_PROMPT, NegativeRequests, NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import (
    ITEM_PROMPT,
    USER_PROMPT,
    ItemPrompts,
    ProfilesConfig,
    UserPrompts,
    request_profiles,
)
from hardneg.text.generation.prompt_template import load_prompt
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


FILLER = (
    "People who enjoy quiet evenings at home, cook for friends and care about things that last will like this; so will "
    "those who travel light, want gear that works at once, and value honest materials over brands. It also suits "
    "beginners who look for a gentle start, and collectors drawn to warm colours, careful details and a touch of humour."
)
"""Text of the kind that profiles contain, as a placeholder for profiles that do not exist yet."""
SAMPLED_TITLES = 200
"""Number of titles for the mean length of a title."""


class EstimateConfig(Config):
    """Number of prompts to count and to send for an estimate, and assumed lengths of answers."""

    sample: NonNegativeInt = 0
    """Users, items and pairs whose requests are sent (with the items in these users' prompts), so that answer lengths
    are measured and not assumed. The replies stay in the store: the job itself does not request them again."""
    limit: PositiveInt = 5_000
    """Maximum number of prompts counted per stage, evenly spaced over its rows."""
    answer_share: Annotated[float, Field(gt=0, le=2)] = 0.75
    """Assumed words of an answer without a sample, as a share of the maximum that its prompt asks for."""
    reasoning_words: PositiveInt = 25
    """Assumed words of the reasoning without a sample."""
    seed: int = 0
    """Seed of the rows that are sampled and counted."""


DEFAULT = EstimateConfig()


@dataclass(frozen=True)
class PromptCount:
    """Prompts of a stage.

    rows: rows of the stage. requests: rows with a request. tokens, error: tokens of all requests and their standard
    error. counted: number of prompts counted.
    """

    rows: int
    requests: float
    tokens: float
    error: float
    counted: int

    def times(self, factor: float) -> PromptCount:
        """Return the count of the same requests sent `factor` times."""
        rows, requests = round(self.rows * factor), self.requests * factor
        return PromptCount(rows, requests, self.tokens * factor, self.error * factor, self.counted)


def estimate_generation(
    split: Split,
    model: ChatModel,
    profiles: ProfilesConfig | Profiles,
    negatives: NegativesConfig | None = None,
    config: EstimateConfig = DEFAULT,
    executor: LlmExecutor | None = None,
) -> CostEstimate:
    """Estimate the cost of generating profiles and, from them, negatives.

    profiles: how to generate them, or existing ones. negatives: None for profiles alone.

    Item prompts are exact. User and pair prompts contain profiles that do not exist yet: each is replaced by one of
    the sampled profiles in turn, or without a sample by text of the assumed length. With a sample (which needs the
    executor) answers are assumed to be as long as the sampled ones, bad replies and repeated requests included, and
    prompt tokens are scaled to the model's own count. Raises ConfigError for a sample without an executor.
    """
    if config.sample and executor is None:
        raise ConfigError(
            f"found a sample of {config.sample} without a model to call; give a model, or set sample to 0"
        )
    rng, train = generator(config.seed, "estimate"), split.train
    items, users = (evenly_spaced(n, config.sample, rng) for n in (train.n_items, train.n_users))
    pairs = train.starts[users] + rng.integers(train.counts[users])
    sampler = executor if config.sample else None
    sample, stages = SampledProfiles(), list[StageEstimate]()
    errors: tuple[float | None, float | None] = (0.0, 0.0)
    if isinstance(profiles, ProfilesConfig):
        if sampler is not None:
            sample = sample_profiles(split, model, profiles, negatives, sampler, items=items, users=users, pairs=pairs)
        filled = fill_profiles(split, sample, config)
        stages += _profile_stages(ItemPrompts(split, model, profiles), filled, sample, config, rng)
        errors = sample.errors
    else:
        filled = profiles
    calls = sample.calls
    if negatives is not None:
        prompts = PairPrompts(split, filled, model, negatives)
        pair_sample = SampledPairs() if sampler is None else sample_pairs(prompts, pairs, sampler)
        stages += _pair_stages(prompts, config, pair_sample, errors, rng)
        calls += pair_sample.calls
    return CostEstimate(tuple(stages), calls)


def fill_profiles(split: Split, sample: SampledProfiles, config: EstimateConfig) -> Profiles:
    """Return a profile for every item and user: the sampled ones, and placeholders of similar length."""

    def fill(known: dict[int, str], n: int, prompt_name: str) -> list[str]:
        pool = list(known.values())
        if not any(pool):  # no sample, or no usable reply in it
            pool = [assumed_reply(prompt_name, config)]
        return [known.get(row, pool[row % len(pool)]) for row in range(n)]

    items = fill(sample.items, split.train.n_items, ITEM_PROMPT)
    return Profiles(items, fill(sample.users, split.train.n_users, USER_PROMPT), "placeholders")


def count_prompts(
    request: Callable[[int], Request | str], n: int, model: ChatModel, limit: int, rng: Generator
) -> PromptCount:
    """Count the tokens of the prompts of rows 0..n-1, or of `limit` evenly spaced rows where n is larger.

    The standard error is that of a simple random sample without replacement, which is no smaller than that of an evenly
    spaced one where neighbours are similar, as pairs of one user are.
    """
    rows = evenly_spaced(n, limit, rng)
    requests = [found for found in map(request, rows.tolist()) if not isinstance(found, str)]
    tokens = np.zeros(len(rows))
    tokens[: len(requests)] = [model.count_tokens(found) for found in requests]
    if len(rows) == n:
        return PromptCount(n, len(requests), float(tokens.sum()), 0.0, len(requests))
    error = n * float(tokens.std(ddof=1)) / len(rows) ** 0.5 * (1 - len(rows) / n) ** 0.5 if len(rows) > 1 else np.inf
    return PromptCount(n, n * len(requests) / len(rows), n * float(tokens.mean()), error, len(requests))


def evenly_spaced(n: int, size: int, rng: Generator) -> Indices:
    """Return all of 0..n-1, or `size` of them at equal distances from a random start, ascending."""
    if size >= n:
        return np.arange(n)
    step = n / max(size, 1)
    return np.asarray(np.floor(rng.random() * step + step * np.arange(size)), np.int64)


def count_text_tokens(text: str, model: ChatModel) -> int:
    """Count the tokens of a text without its chat template."""
    with_text, empty = (model.count_tokens(Request((Message("user", part),), 1)) for part in (text, ""))
    return max(with_text - empty, 0)


def filler_words(n: int) -> str:
    """Return a text of n words."""
    return " ".join(islice(cycle(FILLER.split()), n))


def assumed_reply(prompt_name: str, config: EstimateConfig) -> str:
    """Return a text of the assumed length of an answer."""
    return filler_words(round(config.answer_share * load_prompt(prompt_name).header.answer_words))


def _profile_stages(
    items: ItemPrompts, filled: Profiles, sample: SampledProfiles, config: EstimateConfig, rng: Generator
) -> tuple[StageEstimate, StageEstimate]:
    model = items.model
    users = UserPrompts(items.split, filled.items, model, items.config)
    item_usage = sample.item_usage or _assumed_profile(ITEM_PROMPT, config, model)
    user_usage = sample.user_usage or _assumed_profile(USER_PROMPT, config, model)
    items_per_user = float(np.minimum(items.split.train.counts, items.config.most_items).mean())
    item_count = count_prompts(items.request, len(items), model, config.limit, rng)
    user_count = count_prompts(users.request, len(users), model, config.limit, rng)
    profile_error = _scaled(user_count.requests * items_per_user, item_usage.answer_error)
    return (
        _stage(cost_estimate.ITEMS, item_count, item_usage, item_count.requests, []),
        _stage(cost_estimate.USERS, user_count, user_usage, user_count.requests, [profile_error]),
    )


def _pair_stages(
    prompts: PairPrompts,
    config: EstimateConfig,
    sample: SampledPairs,
    profile_errors: tuple[float | None, float | None],
    rng: Generator,
) -> list[StageEstimate]:
    """Estimate calls about pairs and follow-ups. profile_errors: of the lengths of an item and a user profile."""
    model, groups, n = prompts.model, prompts.groups(), prompts.config.n
    usage = sample.usage or SampledUsage(1.0, 1.0, _assumed_negative(prompts, config))
    count = count_prompts(lambda number: prompts.request_group(groups[number]), len(groups), model, config.limit, rng)
    n_answers = len(prompts.prompted_pairs) * n
    item_error, user_error = profile_errors
    errors = [_scaled(n_answers, item_error), _scaled(len(groups) * n, user_error)]
    stages = [_stage(cost_estimate.NEGATIVES, count.times(n), usage, float(n_answers), errors)]
    shared = np.concatenate([group for group in groups if len(group) > 1] or [np.array([], np.int64)])
    share, share_error = sample.unanswered
    if share and len(shared):
        singles = count_prompts(lambda k: prompts.request_one(int(shared[k])), len(shared), model, config.limit, rng)
        follow_ups = singles.times(n * share)
        errors = [_scaled(follow_ups.requests, error) for error in profile_errors]
        errors.append(singles.tokens * n * share_error)
        usage = sample.follow_up_usage or usage
        stages.append(_stage(cost_estimate.FOLLOW_UPS, follow_ups, usage, follow_ups.requests, errors))
    return stages


def _stage(
    name: str, count: PromptCount, usage: SampledUsage, n_answers: float, errors: list[float | None]
) -> StageEstimate:
    """Combine counted prompts and usage. errors: further standard errors of the prompt tokens."""
    errors = [count.error * usage.prompt, count.tokens * (usage.prompt_error or 0.0), *errors]
    return StageEstimate(
        name,
        rows=count.rows,
        counted=count.counted,
        calls=count.requests * usage.calls,
        prompt_tokens=count.tokens * usage.prompt,
        prompt_error=cost_estimate.combine_errors(errors),
        answer_tokens=n_answers * usage.answer,
        answer_error=_scaled(n_answers, usage.answer_error),
        seconds_per_call=usage.seconds,
    )


def _scaled(amount: float, error: float | None) -> float | None:
    return None if error is None else amount * error


def _assumed_profile(prompt_name: str, config: EstimateConfig, model: ChatModel) -> SampledUsage:
    answer = {"summarization": assumed_reply(prompt_name, config), "reasoning": filler_words(config.reasoning_words)}
    return SampledUsage(1.0, 1.0, count_text_tokens(json.dumps(answer), model))


def _assumed_negative(prompts: PairPrompts, config: EstimateConfig) -> float:
    """Return the assumed answer tokens per pair."""
    if prompts.config.constrained:
        titles = prompts.titles.distinct[:: max(1, len(prompts.titles.distinct) // SAMPLED_TITLES)]
        return float(np.mean([count_text_tokens(title, prompts.model) for title in titles] or [0]))
    negative = assumed_reply(ONE_PROMPT, config)
    answer: dict[str, object] = {"hard_negative_item": negative, "reasoning": filler_words(config.reasoning_words)}
    number = {"item": 1} if prompts.config.pairs_per_call > 1 else {}
    return count_text_tokens(json.dumps(number | answer), prompts.model)
