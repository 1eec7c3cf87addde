"""From the real prompts to an estimate: prompts are counted, answers are sampled or assumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Annotated

import numpy as np
from numpy.random import Generator
from pydantic import Field, NonNegativeInt, PositiveInt

from hardneg.config import Config
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import Message, Request
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
from hardneg.text.estimates.pilot_sample import (
    SampledPairs,
    SampledProfiles,
    SampledUsage,
    sample_pairs,
    sample_profiles,
)
from hardneg.text.generation.executor import LlmExecutor, ModelInfo
from hardneg.text.generation.negative_prompts import ONE_PROMPT, NegativesConfig, PairPrompts
from hardneg.text.generation.profile_prompts import ITEM_PROMPT, USER_PROMPT, ItemPrompts, ProfilesConfig, UserPrompts
from hardneg.text.generation.prompt_template import load_prompt
from hardneg.text.profiles import Profiles
from hardneg.types import Indices

FILLER = (
    "People who enjoy quiet evenings at home, cook for friends and care about things that last will like this; so will "
    "those who travel light, want gear that works at once, and value honest materials over brands. It also suits "
    "beginners who look for a gentle start, and collectors drawn to warm colours, careful details and a touch of humour."
)
"""Words of the kind that profiles are made of, in the place of those that are not written yet."""
TITLES = 200
"""Titles whose mean length stands for that of a chosen title."""


class EstimateConfig(Config):
    """How much is counted and asked for an estimate."""

    sample: NonNegativeInt = 0
    """Users, items and pairs that are really asked about (with the items that these users are shown), so that lengths
    are measured and not assumed. Their replies stay in the store: the job itself does not ask them again."""
    limit: PositiveInt = 5_000
    """Prompts of a stage up to which all are counted; beyond, so many of them, evenly spread over its rows."""
    answer_share: Annotated[float, Field(gt=0, le=2)] = 0.75
    """Words of an answer where nothing was sampled, as a share of the most that its prompt asks for."""
    reasoning_words: PositiveInt = 25
    """Words of its reasoning, likewise."""
    seed: int = 0
    """Of what is sampled and counted."""


DEFAULT = EstimateConfig()


@dataclass(frozen=True)
class PromptCount:
    """Prompts of a stage: rows, how many of them are asked about, their tokens with standard error, prompts counted."""

    rows: int
    requests: float
    tokens: float
    error: float
    counted: int


def estimate_generation(
    split: Split,
    view: ModelInfo,
    profiles: ProfilesConfig | Profiles,
    negatives: NegativesConfig | None = None,
    config: EstimateConfig = DEFAULT,
    asker: LlmExecutor | None = None,
) -> CostEstimate:
    """Foretell what writing profiles, and from them negatives, takes.

    profiles: how they are to be written, or those that stand already. negatives: None where none are wanted.

    Prompts of items are the real ones. Prompts of users and pairs show profiles that are not written yet: in the place
    of each stands one of the sampled ones, in turn, or without a sample words of the length assumed for all. With a
    sample (which needs the asker) answers are taken to be as long as the sampled ones, bad replies and their repetition
    included, and prompt tokens are scaled to what the model itself counted. Raises ConfigError for a sample without an
    asker.
    """
    if config.sample and asker is None:
        raise ConfigError(f"found a sample of {config.sample} without anybody to ask; give a model, or set sample to 0")
    rng, train = generator(config.seed, "estimate"), split.train
    items, users = (evenly_spaced(n, config.sample, rng) for n in (train.n_items, train.n_users))
    pairs = train.starts[users] + rng.integers(train.counts[users])
    heard, stages = SampledProfiles(), list[StageEstimate]()
    errors: tuple[float | None, float | None] = (0.0, 0.0)
    if not isinstance(profiles, Profiles):
        if config.sample and asker is not None:
            heard = sample_profiles(split, view, profiles, negatives, asker, items=items, users=users, pairs=pairs)
        filled = fill_profiles(split, heard, config)
        stages += _profile_stages(split, view, profiles, config, heard, filled, rng)
        errors = _error(heard.of_items), _error(heard.of_users)
    else:
        filled = profiles
    calls = heard.calls
    if negatives is not None:
        prompts = PairPrompts(split, filled, view, negatives)
        told = sample_pairs(prompts, pairs, asker) if config.sample and asker is not None else SampledPairs()
        stages += _pair_stages(prompts, config, told, errors, rng)
        calls += told.calls
    return CostEstimate(tuple(stages), calls)


def fill_profiles(split: Split, heard: SampledProfiles, config: EstimateConfig) -> Profiles:
    """Profiles for everybody: those that were written, and in the place of the others something as long."""

    def fill(known: dict[int, str], n: int, name: str) -> list[str]:
        pool = list(known.values())
        if not any(pool):  # nothing sampled, or nothing that could be used
            pool = [assumed_reply(name, config)]
        return [known.get(number, pool[number % len(pool)]) for number in range(n)]

    items = fill(heard.items, split.train.n_items, ITEM_PROMPT)
    return Profiles(items, fill(heard.users, split.train.n_users, USER_PROMPT), "stand-ins")


def count_prompts(
    request: Callable[[int], Request | str], n: int, view: ModelInfo, limit: int, rng: Generator
) -> PromptCount:
    """Tokens of the prompts of rows 0..n-1: of all of them up to `limit` rows, else of so many, evenly spread.

    The standard error is that of a simple random sample without replacement, which is no smaller than that of an evenly
    spread one where neighbours are alike, as pairs of one user are.
    """
    rows = evenly_spaced(n, limit, rng)
    asked = [found for found in map(request, rows.tolist()) if not isinstance(found, str)]
    tokens = np.zeros(len(rows))
    tokens[: len(asked)] = [view.count_tokens(found) for found in asked]
    if len(rows) == n:
        return PromptCount(n, len(asked), float(tokens.sum()), 0.0, len(asked))
    error = n * float(tokens.std(ddof=1)) / len(rows) ** 0.5 * (1 - len(rows) / n) ** 0.5 if len(rows) > 1 else np.inf
    return PromptCount(n, n * len(asked) / len(rows), n * float(tokens.mean()), error, len(asked))


def evenly_spaced(n: int, wanted: int, rng: Generator) -> Indices:
    """All of 0..n-1, or `wanted` of them at equal distances from a random start, ascending."""
    if wanted >= n:
        return np.arange(n)
    step = n / max(wanted, 1)
    return np.asarray(np.floor(rng.random() * step + step * np.arange(wanted)), np.int64)


def count_text_tokens(text: str, view: ModelInfo) -> int:
    """Tokens of a text alone, what a chat puts around it left out."""
    with_text, without = (view.count_tokens(Request((Message("user", said),), 1)) for said in (text, ""))
    return max(with_text - without, 0)


def filler_words(n: int) -> str:
    """So many words."""
    return " ".join(islice(cycle(FILLER.split()), n))


def assumed_reply(name: str, config: EstimateConfig) -> str:
    """The answer to a prompt, as long as it is assumed to be."""
    return filler_words(round(config.answer_share * load_prompt(name).head.answer_words))


def _profile_stages(
    split: Split,
    view: ModelInfo,
    profiles: ProfilesConfig,
    config: EstimateConfig,
    heard: SampledProfiles,
    filled: Profiles,
    rng: Generator,
) -> tuple[StageEstimate, StageEstimate]:
    items, users = ItemPrompts(split, view, profiles), UserPrompts(split, filled.items, view, profiles)
    of_items = heard.of_items or _assumed_profile(ITEM_PROMPT, config, view)
    of_users = heard.of_users or _assumed_profile(USER_PROMPT, config, view)
    shown = float(np.minimum(split.train.counts, profiles.most_items).mean())
    counted = count_prompts(items.request, len(items), view, config.limit, rng)
    later = count_prompts(users.request, len(users), view, config.limit, rng)
    return (
        _stage(ITEMS, counted, of_items, counted.requests, []),
        _stage(USERS, later, of_users, later.requests, [_times(later.requests * shown, of_items.answer_error)]),
    )


def _pair_stages(
    prompts: PairPrompts,
    config: EstimateConfig,
    told: SampledPairs,
    errors: tuple[float | None, float | None],
    rng: Generator,
) -> list[StageEstimate]:
    """The calls about pairs, and what is asked again singly. errors: of the lengths of item and user profiles."""
    view, groups, n = prompts.view, prompts.groups(), prompts.config.n
    cost = told.of_calls or SampledUsage(1.0, 1.0, _assumed_negative(prompts, config))
    counted = count_prompts(lambda number: prompts.group(groups[number]), len(groups), view, config.limit, rng)
    pairs = len(prompts.askable)
    unsure = [_times(pairs * n, errors[0]), _times(len(groups) * n, errors[1])]
    stages = [_stage(NEGATIVES, _drawn(counted, n), cost, float(pairs * n), unsure)]
    shared = np.concatenate([rows for rows in groups if len(rows) > 1] or [np.array([], np.int64)])
    share, error = told.left
    if share and len(shared):
        single = count_prompts(lambda number: prompts.single(int(shared[number])), len(shared), view, config.limit, rng)
        again = _drawn(single, n * share)
        unsure = [_times(again.requests, profiles) for profiles in errors] + [single.tokens * n * error]
        stages.append(_stage(FOLLOW_UPS, again, told.of_singles or cost, again.requests, unsure))
    return stages


def _drawn(counted: PromptCount, times: float) -> PromptCount:
    """The same requests so many times."""
    return PromptCount(
        round(counted.rows * times),
        counted.requests * times,
        counted.tokens * times,
        counted.error * times,
        counted.counted,
    )


def _stage(
    name: str, counted: PromptCount, cost: SampledUsage, units: float, unsure: list[float | None]
) -> StageEstimate:
    """units: of answers. unsure: standard errors of the prompt tokens besides that of counting some of them."""
    return StageEstimate(
        name,
        rows=counted.rows,
        counted=counted.counted,
        calls=counted.requests * cost.calls,
        prompt_tokens=counted.tokens * cost.prompt,
        prompt_error=combine_errors(
            [counted.error * cost.prompt, counted.tokens * (cost.prompt_error or 0.0), *unsure]
        ),
        answer_tokens=units * cost.answer,
        answer_error=_times(units, cost.answer_error),
        seconds_per_call=cost.seconds,
    )


def _times(amount: float, error: float | None) -> float | None:
    return None if error is None else amount * error


def _error(learnt: SampledUsage | None) -> float | None:
    return None if learnt is None else learnt.answer_error


def _assumed_profile(name: str, config: EstimateConfig, view: ModelInfo) -> SampledUsage:
    answer = {"summarization": assumed_reply(name, config), "reasoning": filler_words(config.reasoning_words)}
    return SampledUsage(1.0, 1.0, count_text_tokens(json.dumps(answer), view))


def _assumed_negative(prompts: PairPrompts, config: EstimateConfig) -> float:
    """Answer tokens a pair."""
    if prompts.config.constrained:
        titles = prompts.names.distinct[:: max(1, len(prompts.names.distinct) // TITLES)]
        return float(np.mean([count_text_tokens(title, prompts.view) for title in titles] or [0]))
    name = assumed_reply(ONE_PROMPT, config)
    answer: dict[str, object] = {"hard_negative_item": name, "reasoning": filler_words(config.reasoning_words)}
    numbered = {"item": 1} if prompts.config.pairs_per_call > 1 else {}
    return count_text_tokens(json.dumps(numbered | answer), prompts.view)
