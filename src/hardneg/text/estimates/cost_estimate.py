"""Estimated calls, tokens, money and hours of LLM stages, and their comparison with actual usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import PositiveFloat

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.llm.usage import Price
from hardneg.text.generation.executor import TokenUsage

ITEMS, USERS, NEGATIVES, FOLLOW_UPS = "items", "users", "negatives", "follow-ups"
PRODUCTS = "products"
"""Stage of negatives per item."""


class Rate(Config):
    """Rate limits of a model; the tighter one decides."""

    calls_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None


@dataclass(frozen=True)
class StageEstimate:
    """Estimate of one stage.

    rows: rows of the stage. counted: prompts whose tokens were counted; the others are extrapolated. prompt_error,
    answer_error: standard errors of the tokens, from counting only some prompts, from placeholder texts and from the
    sample of answers; None without a sample, where answer lengths are assumed. seconds_per_call: mean of a sample, None
    without.
    """

    name: str
    rows: int
    counted: int
    calls: float
    prompt_tokens: float
    prompt_error: float | None
    answer_tokens: float
    answer_error: float | None
    seconds_per_call: float | None = None

    @property
    def tokens(self) -> float:
        """Prompt and answer tokens."""
        return self.prompt_tokens + self.answer_tokens


@dataclass(frozen=True)
class CostEstimate:
    """Stages in the order in which they run. sampled: calls made for the estimate."""

    stages: tuple[StageEstimate, ...]
    sampled: int = 0

    @property
    def total(self) -> StageEstimate:
        """Sum of all stages; their errors count as independent."""
        names = ("rows", "counted", "calls", "prompt_tokens", "answer_tokens")
        values: dict[str, Any] = {name: sum(getattr(stage, name) for stage in self.stages) for name in names}
        for name in ("prompt_error", "answer_error"):
            values[name] = combine_errors([getattr(stage, name) for stage in self.stages])
        return StageEstimate("total", **values)

    def table(self, price: Price | None = None, rate: Rate | None = None) -> pl.DataFrame:
        """Return a row per stage and a total: the fields of StageEstimate, money and hours.

        money: dollars without prompt caching, None without a price. hours: at that rate, None without one.
        """
        rows = [
            vars(stage) | {"money": money(stage, price), "hours": None if rate is None else hours(stage, rate)}
            for stage in (*self.stages, self.total)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def money(stage: StageEstimate, price: Price | None) -> float | None:
    """Return the dollars of a stage without prompt caching; None without a price."""
    return None if price is None else price.cost(stage.prompt_tokens, stage.answer_tokens)


def hours(stage: StageEstimate, rate: Rate) -> float:
    """Return the hours of a stage at that rate. Raises ConfigError where the rate has no limit."""
    amounts = ((stage.calls, rate.calls_per_minute), (stage.tokens, rate.tokens_per_minute))
    minutes = [amount / per_minute for amount, per_minute in amounts if per_minute is not None]
    if not minutes:
        raise ConfigError("found a rate without numbers, expected calls or tokens per minute; give one of them")
    return max(minutes) / 60


def compare_with_estimate(
    estimate: CostEstimate, usage: Mapping[str, TokenUsage], price: Price | None = None
) -> dict[str, dict[str, float | None]]:
    """Compare an estimate with actual usage, by stage and in total, for costs.json.

    usage: by stage name; other stages are left out, of the total too. Each comparison has the keys "estimated X",
    "used X" and "X off" (estimated / used - 1; None where nothing was used) for calls, prompt tokens, answer tokens,
    tokens and, with a price, money.
    """
    stages = [stage for stage in estimate.stages if stage.name in usage]
    estimated = {stage.name: _amounts(stage, price) for stage in stages}
    estimated["total"] = _amounts(CostEstimate(tuple(stages)).total, price)
    used = {stage.name: _amounts(usage[stage.name], price) for stage in stages}
    used["total"] = {key: sum(amounts[key] for amounts in used.values()) for key in estimated["total"]}
    return {name: _comparison(amounts, used[name]) for name, amounts in estimated.items()}


def combine_errors(errors: Sequence[float | None]) -> float | None:
    """Return the standard error of a sum with independent errors; None where one is unknown."""
    known = [error for error in errors if error is not None]
    return None if len(known) < len(errors) else float(sum(error**2 for error in known) ** 0.5)


def _amounts(usage: StageEstimate | TokenUsage, price: Price | None) -> dict[str, float]:
    amounts = {
        "calls": float(usage.calls),
        "prompt tokens": float(usage.prompt_tokens),
        "answer tokens": float(usage.answer_tokens),
        "tokens": float(usage.prompt_tokens + usage.answer_tokens),
    }
    return amounts if price is None else amounts | {"money": price.cost(usage.prompt_tokens, usage.answer_tokens)}


def _comparison(estimated: dict[str, float], used: dict[str, float]) -> dict[str, float | None]:
    return {
        **{f"estimated {key}": value for key, value in estimated.items()},
        **{f"used {key}": value for key, value in used.items()},
        **{f"{key} off": value / used[key] - 1 if used[key] else None for key, value in estimated.items()},
    }
