"""Rate limits, pauses that a server asks for, and waits before retries. Times are seconds of one clock."""

from __future__ import annotations

import math
from random import Random

BURST_SECONDS = 1.0
"""Seconds of its rate that a limit lets through at once."""
NEGLIGIBLE_SECONDS = 1e-6
"""Waits up to this length count as zero."""


class TokenBucket:
    """Fills evenly up to one second's worth, at least 1; a larger amount waits until it is full and leaves a debt."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._rate = per_minute / 60
        self._capacity = max(1.0, self._rate * BURST_SECONDS)
        self._level, self._updated = self._capacity, now

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until the amount may be taken."""
        self._level = min(self._capacity, self._level + (now - self._updated) * self._rate)
        self._updated = now
        return max(0.0, min(amount, self._capacity) - self._level) / self._rate

    def take(self, amount: float) -> None:
        """Take an amount unconditionally; a negative amount is returned to the bucket."""
        self._level = min(self._capacity, self._level - amount)


class RateLimits:
    """Limits of calls and tokens per minute, and pauses for all calls."""

    def __init__(self, calls_per_minute: float | None, tokens_per_minute: float | None, now: float) -> None:
        self._calls = TokenBucket(calls_per_minute, now) if calls_per_minute else None
        self._tokens = TokenBucket(tokens_per_minute, now) if tokens_per_minute else None
        self._paused_until = -math.inf
        self.limited = bool(self._calls or self._tokens)

    def pause(self, until: float) -> None:
        """Let no call start before this time."""
        self._paused_until = max(self._paused_until, until)

    def wait(self, tokens: float, now: float) -> float:
        """Return the seconds until a call with that many tokens may start, 0 for now."""
        waits = [self._paused_until - now]
        if self._calls:
            waits.append(self._calls.wait(1, now))
        if self._tokens:
            waits.append(self._tokens.wait(tokens, now))
        longest = max(waits)
        return longest if longest > NEGLIGIBLE_SECONDS else 0.0

    def take(self, tokens: float) -> None:
        """Count a call that starts."""
        if self._calls:
            self._calls.take(1)
        if self._tokens:
            self._tokens.take(tokens)

    def settle(self, reserved: float, used: float) -> None:
        """Correct the tokens of a call from those reserved to those used."""
        if self._tokens:
            self._tokens.take(used - reserved)


def backoff(retry: int, *, first: float, longest: float, rng: Random) -> float:
    """Return the seconds before the n-th retry (1, 2, ...): uniform over [0, min(longest, first * 2^(n - 1))].

    Source: "full jitter" of Brooker (2015), Exponential Backoff And Jitter.
    """
    return rng.uniform(0.0, min(longest, first * 2.0 ** min(retry - 1, 60)))


def bounded_pause(retry_after: float | None, longest: float) -> float:
    """Return the pause for a server's Retry-After, at most `longest`; 0 without a usable value."""
    return min(retry_after, longest) if retry_after is not None and retry_after > 0 else 0.0  # NaN is not above 0
