"""Settings of the engine: rate limits, retries, budget and circuit breaker."""

from __future__ import annotations

from pydantic import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from hardneg.config import Config


class EngineConfig(Config):
    """Settings of `hardneg.llm.session.answer_tasks`. None of them changes the content of a stored reply."""

    concurrency: PositiveInt | None = None
    """Maximum number of concurrent calls; None for the model's own default."""
    requests_per_minute: PositiveFloat | None = None
    """Maximum calls per minute, spread evenly; bursts hold at most one second's worth."""
    tokens_per_minute: PositiveFloat | None = None
    """Maximum prompt and answer tokens per minute. A call reserves its worst case and returns what it did not use."""
    timeout: PositiveFloat = 600.0
    """Seconds until a call is abandoned; a batch on a slow machine may need more."""
    retries: NonNegativeInt = 6
    """Maximum number of retries of a failed call; then its rows are reported as failed."""
    first_wait: PositiveFloat = 0.5
    """Seconds; the wait before the n-th retry is uniform over [0, first_wait * 2^(n - 1)]."""
    longest_wait: PositiveFloat = 60.0
    """Upper bound of a single wait in seconds; also applies where a server asks for more."""
    repairs: NonNegativeInt = 2
    """Maximum number of repair requests after unusable replies; then the row is reported as failed."""
    budget_calls: NonNegativeInt | None = None
    """Maximum number of calls in this run; None for no limit."""
    budget_tokens: NonNegativeInt | None = None
    """Maximum number of prompt and answer tokens in this run; None for no limit."""
    budget_money: NonNegativeFloat | None = None
    """Maximum cost of this run in US dollars; None for no limit. Needs the model's price."""
    breaker_failures: PositiveInt = 20
    """Consecutive failed calls that open the circuit breaker: calls are then sent one at a time."""
    breaker_seconds: PositiveFloat = 120.0
    """Seconds that the breaker may stay open before the run stops."""
    retry_failed: bool = False
    """Delete stored refusals and failures of earlier runs, so that their requests are sent again."""
