"""Estimation of generation costs: prompts are built and counted, answers are sampled or assumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated

import numpy as np
from numpy.random import Generator
from pydantic import Field, NonNegativeInt, PositiveInt

from hardneg.config import Config, Seed
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import ChatModel, Message, Request
from hardneg.random import generator
from hardneg.text.estimates.cost_estimate import (
    FOLLOW_UPS,
    ITEMS,
    NEGATIVES,
    USERS,
    CostEstimate,
    StageEstimate,
    combine_errors,
)
from hardneg.text.estimates.sampling import (
    OTHER_ITEMS,
    RecordingExecutor,
    SampledUsage,
    sample_pairs,
    sample_profiles,
)
from hardneg.text.generation.executor import LlmExecutor
from hardneg.text.generation.message_formats import load_prompt
from hardneg.text.generation.negative_generation import ONE_PROMPT, NegativesConfig, PairPrompts
from hardneg.text.generation.profile_generation import (
    ITEM_PROMPT,
    USER_PROMPT,
    ItemPrompts,
    ProfilesConfig,
    UserPrompts,
)
from hardneg.text.grounding import TitleIndex
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

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
    seed: Seed = 0
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
    counts = {ITEMS: train.n_items, USERS: train.n_users}
    rows = {name: evenly_spaced(n, config.sample, rng) for name, n in counts.items()}
    rows[NEGATIVES] = train.starts[rows[USERS]] + rng.integers(train.counts[rows[USERS]])
    if isinstance(profiles, ProfilesConfig) and not profiles.users:
        rows[USERS] = rows[USERS][:0]
    names = (ITEMS, OTHER_ITEMS, USERS, NEGATIVES, FOLLOW_UPS)
    recorders = {} if executor is None else {name: RecordingExecutor(executor) for name in names}
    stages = list[StageEstimate]()
    errors: tuple[float | None, float | None] = (0.0, 0.0)
    if isinstance(profiles, ProfilesConfig):
        items, by_item, by_user = ItemPrompts(split, model, profiles), dict[int, str](), dict[int, str]()
        if config.sample:
            by_item, by_user = sample_profiles(items, negatives, rows, recorders)
        filled = Profiles(
            fill_profiles(by_item, train.n_items, ITEM_PROMPT, config),
            fill_profiles(by_user, train.n_users, USER_PROMPT, config),
            "placeholders",
        )
        stages, errors = _profile_stages(items, filled, recorders, config, rng)
    else:
        filled = profiles
    if negatives is not None:
        prompts = PairPrompts(split, filled, model, negatives)
        unanswered = sample_pairs(prompts, rows[NEGATIVES], recorders) if config.sample else (0.0, 0.0)
        stages += _pair_stages(prompts, config, recorders, unanswered, errors, rng)
    return CostEstimate(tuple(stages), sum(recorder.calls for recorder in recorders.values()))


def fill_profiles(known: Mapping[int, str], n: int, prompt_name: str, config: EstimateConfig) -> list[str]:
    """Return n profiles: the sampled ones by row, and one of them in turn, or a text of the assumed length, elsewhere."""
    pool = list(known.values())
    if not any(pool):  # no sample, or no usable reply in it
        pool = [assumed_reply(prompt_name, config)]
    return [known.get(row, pool[row % len(pool)]) for row in range(n)]


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


def mean_title_tokens(titles: TitleIndex, model: ChatModel) -> float:
    """Return the mean tokens of a title of the catalogue, over some of them."""
    sampled = titles.distinct[:: max(1, len(titles.distinct) // SAMPLED_TITLES)]
    return float(np.mean([count_text_tokens(title, model) for title in sampled] or [0]))


def filler_words(n: int) -> str:
    """Return a text of n words."""
    return " ".join(islice(cycle(FILLER.split()), n))


def assumed_reply(prompt_name: str, config: EstimateConfig) -> str:
    """Return a text of the assumed length of an answer."""
    return filler_words(round(config.answer_share * load_prompt(prompt_name).header.answer_words))


def _profile_stages(
    items: ItemPrompts,
    filled: Profiles,
    recorders: Mapping[str, RecordingExecutor],
    config: EstimateConfig,
    rng: Generator,
) -> tuple[list[StageEstimate], tuple[float | None, float | None]]:
    """Estimate calls about items and users. Returns also the errors of the lengths of an item and a user profile."""
    model, limit = items.model, config.limit
    users = UserPrompts(items.split, filled.items, model, items.config)
    usages = {name: recorder.usage(model) for name, recorder in recorders.items()}
    item_usage = usages.get(ITEMS) or _assumed_usage(model, config, ITEM_PROMPT, "summarization")
    user_usage = usages.get(USERS) or _assumed_usage(model, config, USER_PROMPT, "summarization")
    items_per_user = float(np.minimum(items.split.train.counts, items.config.most_items).mean())
    item_count = count_prompts(items.request, len(items), model, limit, rng)
    user_count = count_prompts(users.request, len(users) if items.config.users else 0, model, limit, rng)
    profile_error = _scaled(user_count.requests * items_per_user, item_usage.answer_error)
    stages = [estimate_stage(ITEMS, item_count, item_usage, item_count.requests, [])]
    if items.config.users:
        stages.append(estimate_stage(USERS, user_count, user_usage, user_count.requests, [profile_error]))
    return stages, (item_usage.answer_error, user_usage.answer_error)


def _pair_stages(
    prompts: PairPrompts,
    config: EstimateConfig,
    recorders: Mapping[str, RecordingExecutor],
    unanswered: tuple[float, float],
    profile_errors: tuple[float | None, float | None],
    rng: Generator,
) -> list[StageEstimate]:
    """Estimate calls about pairs and follow-ups.

    unanswered: from `sample_pairs`. profile_errors: of the lengths of an item and a user profile.
    """
    model, groups, n = prompts.model, prompts.groups(), prompts.config.n
    usages = {name: recorder.usage(model) for name, recorder in recorders.items()}
    usage = usages.get(NEGATIVES) or _assumed_negative(prompts, config)
    count = count_prompts(lambda number: prompts.request(groups[number]), len(groups), model, config.limit, rng)
    n_answers = len(prompts.prompted_pairs) * n
    item_error, user_error = profile_errors
    errors = [_scaled(n_answers, item_error), _scaled(len(groups) * n, user_error)]
    stages = [estimate_stage(NEGATIVES, count.times(n), usage, float(n_answers), errors)]
    shared = [pair for group in groups if len(group) > 1 for pair in group]
    share, share_error = unanswered
    if share and shared:
        singles = count_prompts(lambda k: prompts.request([shared[k]]), len(shared), model, config.limit, rng)
        follow_ups = singles.times(n * share)
        errors = [_scaled(follow_ups.requests, error) for error in profile_errors]
        errors.append(singles.tokens * n * share_error)
        usage = usages.get(FOLLOW_UPS) or usage
        stages.append(estimate_stage(FOLLOW_UPS, follow_ups, usage, follow_ups.requests, errors))
    return stages


def estimate_stage(
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
        prompt_error=combine_errors(errors),
        answer_tokens=n_answers * usage.answer,
        answer_error=_scaled(n_answers, usage.answer_error),
        seconds_per_call=usage.seconds,
    )


def _scaled(amount: float, error: float | None) -> float | None:
    return None if error is None else amount * error


def _assumed_usage(
    model: ChatModel, config: EstimateConfig, prompt_name: str, field: str, **first: object
) -> SampledUsage:
    """Return the usage of answers of assumed length: a text in this field, and its reasoning."""
    answer = {**first, field: assumed_reply(prompt_name, config), "reasoning": filler_words(config.reasoning_words)}
    return SampledUsage(1.0, 1.0, count_text_tokens(json.dumps(answer), model))


def _assumed_negative(prompts: PairPrompts, config: EstimateConfig) -> SampledUsage:
    if prompts.config.constrained:
        return SampledUsage(1.0, 1.0, mean_title_tokens(prompts.titles, prompts.model))
    number = {"item": 1} if prompts.config.pairs_per_call > 1 else {}
    return _assumed_usage(prompts.model, config, ONE_PROMPT, "hard_negative_item", **number)
