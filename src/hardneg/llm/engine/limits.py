"""Not faster than was agreed, and not at all while the model asked for a pause. Times are seconds of one clock."""

from __future__ import annotations

import math
from random import Random

BURST_SECONDS = 1.0
"""A limit lets through at once what it allows in this time."""
NEARLY = 1e-6
"""Shorter waits are none."""


class Bucket:
    """Fills evenly up to a second's worth, at least one; a larger amount waits until it is full and leaves a debt."""

    def __init__(self, per_minute: float, now: float) -> None:
        self._rate = per_minute / 60
        self._most = max(1.0, self._rate * BURST_SECONDS)
        self._level, self._filled = self._most, now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until the amount may be taken."""
        self._level = min(self._most, self._level + (now - self._filled) * self._rate)
        self._filled = now
        return max(0.0, min(amount, self._most) - self._level) / self._rate

    def take(self, amount: float) -> None:
        """Take it, whatever is there; a negative amount gives back what was not needed."""
        self._level = min(self._most, self._level - amount)


class Pace:
    """When the next call may go out: limits of calls and tokens a minute, and pauses that hold all calls."""

    def __init__(self, calls_per_minute: float | None, tokens_per_minute: float | None, now: float) -> None:
        self._calls = Bucket(calls_per_minute, now) if calls_per_minute else None
        self._tokens = Bucket(tokens_per_minute, now) if tokens_per_minute else None
        self._paused = -math.inf
        self.limited = bool(self._calls or self._tokens)

    def pause(self, until: float) -> None:
        """Nothing goes out before that."""
        self._paused = max(self._paused, until)

    def wait(self, tokens: float, now: float) -> float:
        """Seconds until a call of that many tokens may go out, 0 for now."""
        waits = [self._paused - now]
        if self._calls:
            waits.append(self._calls.wait(1, now))
        if self._tokens:
            waits.append(self._tokens.wait(tokens, now))
        longest = max(waits)
        return longest if longest > NEARLY else 0.0

    def take(self, tokens: float) -> None:
        """A call goes out."""
        if self._calls:
            self._calls.take(1)
        if self._tokens:
            self._tokens.take(tokens)

    def settle(self, reserved: float, used: float) -> None:
        """It took other tokens than were reserved."""
        if self._tokens:
            self._tokens.take(used - reserved)


def backoff(repetition: int, *, first: float, longest: float, rng: Random) -> float:
    """Seconds before the n-th repetition (1, 2, ...): uniform over [0, min(longest, first * 2^(n - 1))].

    Source: "full jitter" of Brooker (2015), Exponential Backoff And Jitter.
    """
    return rng.uniform(0.0, min(longest, first * 2.0 ** min(repetition - 1, 60)))


def asked_for(retry_after: float | None, longest: float) -> tuple[float, bool]:
    """The pause to make where a server named one, and whether it was cut to the longest; (0, False) for none."""
    if retry_after is None or not retry_after > 0:  # also not a number
        return 0.0, False
    return min(retry_after, longest), retry_after > longest
