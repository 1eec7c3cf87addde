"""How a language model is asked: how fast, how patiently, and for how much."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hardneg.config import Config


class EngineConfig(Config):
    """Settings of `hardneg.llm.engine.scheduler.ask`. None of them changes what a stored reply says."""

    concurrency: PositiveInt | None = None
    """Calls at a time; None for what the model says makes sense."""
    requests_per_minute: PositiveFloat | None = None
    """Calls a minute, spread evenly; at most a second's worth at once."""
    tokens_per_minute: PositiveFloat | None = None
    """Prompt and answer tokens a minute, reserved at the worst case and settled by what the model counted."""
    timeout: PositiveFloat = 600.0
    """Seconds that one call may take; a batch on a slow machine may need more."""
    retries: NonNegativeInt = 6
    """How often a failed call is repeated before its rows are listed."""
    first_wait: PositiveFloat = 0.5
    """Seconds; the wait before the n-th repetition is uniform over [0, first_wait * 2^(n - 1)]."""
    longest_wait: PositiveFloat = 60.0
    """Seconds; the most that is waited at once, also where a server asks for more."""
    repairs: NonNegativeInt = 2
    """How often a bad reply is asked again before its row is listed."""
    budget_calls: NonNegativeInt | None = None
    """Calls of this run; None for no limit."""
    budget_tokens: NonNegativeInt | None = None
    """Prompt and answer tokens of this run; None for no limit."""
    budget_money: NonNegativeFloat | None = None
    """Dollars of this run; None for no limit. Needs the model's price."""
    breaker_failures: PositiveInt = 20
    """Failed calls in a row after which calls go out one by one, to see whether the model is still there."""
    breaker_seconds: PositiveFloat = 120.0
    """How long to go on like that before the run stops."""
    retry_failed: bool = False
    """Forget which requests were refused or failed for good in earlier runs, and ask them again."""
