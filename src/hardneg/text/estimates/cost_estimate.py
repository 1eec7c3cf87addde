"""What writing profiles and negatives will take: calls, tokens, money, hours, from the real prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import polars as pl
from pydantic import PositiveFloat

from hardneg.config import Config
from hardneg.errors import ConfigError
from hardneg.llm.prices import Price

ITEMS, USERS, NEGATIVES, FOLLOW_UPS = "items", "users", "negatives", "follow-ups"


class Rate(Config):
    """How fast a model may be asked; the slower of the two decides."""

    calls_per_minute: PositiveFloat | None = None
    tokens_per_minute: PositiveFloat | None = None


class StageUsage(Protocol):
    """What a stage took: a `Spent`, or the engine's tally."""

    @property
    def calls(self) -> int:
        """Calls that were answered."""
        ...

    @property
    def prompt_tokens(self) -> int:
        """As the model counted them."""
        ...

    @property
    def answer_tokens(self) -> int:
        """As the model counted them."""
        ...


@dataclass(frozen=True)
class StageEstimate:
    """The estimate of one stage.

    rows: what is asked about; counted: of these, the prompts whose tokens were counted, the others being inferred from
    them. prompt_error, answer_error: standard errors of the tokens: of counting some prompts, of stand-ins for texts that
    are not written yet, of a sample of answers; None where no sample tells (the answer's length is then assumed).
    seconds_per_call: mean of a sample, None without.
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
        """Prompt and answer."""
        return self.prompt_tokens + self.answer_tokens


@dataclass(frozen=True)
class CostEstimate:
    """The stages in the order in which they are asked; sampled: calls that were made to learn of them."""

    stages: tuple[StageEstimate, ...]
    sampled: int = 0

    @property
    def total(self) -> StageEstimate:
        """All stages as one; their errors are taken for independent."""
        return StageEstimate(
            "total",
            sum(stage.rows for stage in self.stages),
            sum(stage.counted for stage in self.stages),
            sum(stage.calls for stage in self.stages),
            sum(stage.prompt_tokens for stage in self.stages),
            combine_errors([stage.prompt_error for stage in self.stages]),
            sum(stage.answer_tokens for stage in self.stages),
            combine_errors([stage.answer_error for stage in self.stages]),
        )

    def table(self, price: Price | None = None, rate: Rate | None = None) -> pl.DataFrame:
        """A row a stage and one for all: the fields of Stage, money (dollars; None without a price), hours.

        money is what it costs where nothing of a prompt is cached. hours: at that rate; None without one.
        """
        rows = [
            vars(stage) | {"money": money(stage, price), "hours": None if rate is None else hours(stage, rate)}
            for stage in (*self.stages, self.total)
        ]
        return pl.DataFrame(rows, infer_schema_length=None)


def money(stage: StageEstimate, price: Price | None) -> float | None:
    """Dollars at that price, nothing cached; None without one."""
    return None if price is None else price.cost(stage.prompt_tokens, stage.answer_tokens)


def hours(stage: StageEstimate, rate: Rate) -> float:
    """How long a stage takes at that rate."""
    if rate.calls_per_minute is None and rate.tokens_per_minute is None:
        raise ConfigError("found a rate without numbers, expected calls or tokens per minute; give one of them")
    minutes = [
        amount / per_minute
        for amount, per_minute in ((stage.calls, rate.calls_per_minute), (stage.tokens, rate.tokens_per_minute))
        if per_minute is not None
    ]
    return max(minutes) / 60


def compare_with_estimate(
    estimate: CostEstimate, took: Mapping[str, StageUsage], price: Price | None = None
) -> dict[str, dict[str, float | None]]:
    """How far off an estimate was, for costs.json: by stage and in total, what was estimated, what it took, and off.

    took: by name of the stage; stages that are not there are left out, of the total too. off: estimated / took - 1 of
    calls, prompt tokens, answer tokens, all tokens and, with a price, money; None where nothing was taken.
    """
    stages = [stage for stage in estimate.stages if stage.name in took]
    foretold = {stage.name: _numbers(stage, price) for stage in stages}
    foretold["total"] = _numbers(CostEstimate(tuple(stages)).total, price)
    found = {stage.name: _numbers(took[stage.name], price) for stage in stages}
    found["total"] = {key: sum(numbers[key] for numbers in found.values()) for key in foretold["total"]}
    return {name: _beside(numbers, found[name]) for name, numbers in foretold.items()}


def combine_errors(errors: Sequence[float | None]) -> float | None:
    """Independent errors as one; None where one is unknown."""
    known = [error for error in errors if error is not None]
    return None if len(known) < len(errors) else float(sum(error**2 for error in known) ** 0.5)


def _numbers(took: StageEstimate | StageUsage, price: Price | None) -> dict[str, float]:
    numbers = {
        "calls": float(took.calls),
        "prompt tokens": float(took.prompt_tokens),
        "answer tokens": float(took.answer_tokens),
        "tokens": float(took.prompt_tokens + took.answer_tokens),
    }
    return numbers if price is None else numbers | {"money": price.cost(took.prompt_tokens, took.answer_tokens)}


def _beside(estimated: dict[str, float], used: dict[str, float]) -> dict[str, float | None]:
    return {
        **{f"estimated {key}": value for key, value in estimated.items()},
        **{f"used {key}": value for key, value in used.items()},
        **{f"{key} off": _off(value, used[key]) for key, value in estimated.items()},
    }


def _off(estimated: float, used: float) -> float | None:
    return estimated / used - 1 if used else None
