"""Admission of calls: within the rate limits and the budget, and one at a time while the model seems to be down."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import Random

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.protocol import CallFailed, CallTimedOut, ChatModel, LlmError, Refusal, Reply, Request
from hardneg.llm.usage import Price, UsageStats


class BudgetReached(LlmError):  # noqa: N818 - part of the public API
    """The next call could exceed the budget. Replies in flight were stored, so the same command continues from there."""


@dataclass(frozen=True)
class Cost:
    """Cost of calls. money: US dollars, 0 where no price is known."""

    calls: int = 0
    tokens: float = 0.0
    money: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.calls - other.calls, self.tokens - other.tokens, self.money - other.money)


@dataclass(frozen=True)
class Reservation:
    """The worst-case cost of an admitted call; prompt_tokens: as counted here, 0 where no limit needs them."""

    cost: Cost
    prompt_tokens: int = 0


class Budget:
    """Cost spent so far, cost reserved by calls in flight, and the limits on their sum.

    A call reserves an upper bound of its cost: the whole prompt, nothing cached, and the longest answer. If the model
    reports longer prompts than `count_tokens` estimates, later bounds grow in proportion. Until then, calls in flight
    may cost more than their bound.
    """

    def __init__(self, config: EngineConfig, model: ChatModel, price: Price | None) -> None:
        self._model, self._price = model, price
        self._limits = config.budget_calls, config.budget_tokens, config.budget_money
        self.limits_tokens = config.budget_tokens is not None or config.budget_money is not None
        self.spent, self._reserved = Cost(), Cost()
        self._counted = self._reported = 0

    @property
    def in_flight(self) -> int:
        """Number of calls that are reserved and not settled."""
        return self._reserved.calls

    def bound(self, requests: Sequence[Request]) -> Reservation:
        """Return the maximum cost of a call."""
        counted = sum(self._model.count_tokens(request) for request in requests)
        prompt = counted * (max(1.0, self._reported / self._counted) if self._counted else 1.0)
        answer = sum(request.max_tokens for request in requests)
        money = self._price.cost(prompt, answer) if self._price else 0.0
        return Reservation(Cost(1, prompt + answer, money), counted)

    def calibrate(self, counted: int, reported: int) -> None:
        """Record the prompt tokens counted here and those that the model reported for the same call."""
        self._counted += counted
        self._reported += reported

    def reserve(self, bound: Cost) -> bool:
        """Reserve a call's maximum cost; False if it does not fit."""
        total = self.spent + self._reserved + bound
        amounts = total.calls, total.tokens, total.money
        if any(limit is not None and amount > limit for limit, amount in zip(self._limits, amounts, strict=True)):
            return False
        self._reserved += bound
        return True

    def settle(self, bound: Cost, spent: Cost) -> None:
        """Replace a reservation by what the call did cost."""
        self._reserved -= bound
        self.spent += spent

    def __str__(self) -> str:
        """Spent amounts of the limited units: "40 of 40 calls, 1,200 of 5,000 tokens"."""
        spent = f"{self.spent.calls:,}", f"{self.spent.tokens:,.0f}", f"{self.spent.money:,.4f}"
        units = zip(spent, self._limits, ("calls", "tokens", "dollars"), strict=True)
        return ", ".join(f"{amount} of {limit:,} {unit}" for amount, limit, unit in units if limit is not None)


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
        calls = self._calls.wait(1, now) if self._calls else 0.0
        longest = max(self._paused_until - now, calls, self._tokens.wait(tokens, now) if self._tokens else 0.0)
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


class Breaker:
    """Closed while calls succeed; opens after `failures` different calls failed in a row; a success closes it.

    A call that is retried and fails each time counts once: the call itself may be at fault. While the breaker is open,
    calls are sent one at a time with growing waits, for at most `seconds`. `stop_reason` tells when to stop, and why.

    probes: calls sent since it opened. replied: any call has succeeded. reached: the model reacted in some form since
    the last reply, or since the start.
    """

    def __init__(self, failures: int, seconds: float) -> None:
        self._max_failures, self._max_seconds = failures, seconds
        self._failed_in_row: set[Hashable] = set()
        self._refusals = 0
        self._opened: float | None = None
        self._last_reason = ""
        self.probes = 0
        self.replied = self.reached = False

    @property
    def open(self) -> bool:
        """True while the model may be down."""
        return self._opened is not None

    def succeeded(self) -> None:
        """Record a reply."""
        self._failed_in_row.clear()
        self._opened, self.probes = None, 0
        self.replied, self.reached = True, False

    def refused(self, reason: str) -> None:
        """Record a refused request; these count only until the first reply."""
        self._refusals += 1
        self._last_reason, self.reached = reason, True

    def failed(self, call: Hashable, reason: str, now: float, *, reached: bool) -> None:
        """Record a failed call."""
        self._last_reason = reason
        self.reached |= reached
        if self._opened is None:
            self._failed_in_row.add(call)
            self._opened = now if len(self._failed_in_row) >= self._max_failures else None

    def stop_reason(self, now: float) -> str:
        """Return why to stop, or "" to continue. now: when the next call would be sent."""
        if not self.replied and self._refusals >= self._max_failures:
            return f"refused the first {self._refusals:,} requests, the last: {self._last_reason}"
        if self._opened is None:
            return ""
        if not self.replied and not self.reached:
            return self.unreachable_reason()
        if now - self._opened > self._max_seconds:
            return (
                f"failed {len(self._failed_in_row):,} calls in a row and each of {self.probes} more within "
                f"{self._max_seconds:g} s, the last: {self._last_reason}"
            )
        return ""

    def unreachable_reason(self) -> str:
        """Return the reason to report where nothing reacts."""
        return f"cannot be reached ({self._last_reason}); start it, or check its address"


class Stop(Exception):  # noqa: N818 - not an error: calls in flight continue
    """No further call may be sent. kind: the error to raise in the end; reason: a clause to follow the model's name."""

    def __init__(self, kind: type[LlmError], reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


class Admission:
    """Calls enter by `turn` and report their end by `replied` or `failed`; lives in one event loop."""

    def __init__(
        self, model: ChatModel, config: EngineConfig, usage: UsageStats, price: Price | None, rng: Random
    ) -> None:
        self._config, self._usage, self._price = config, usage, price
        self.backoff = partial(backoff, first=config.first_wait, longest=config.longest_wait, rng=rng)
        self._now = asyncio.get_running_loop().time
        self._limits = RateLimits(config.requests_per_minute, config.tokens_per_minute, self._now())
        self._budget = Budget(config, model, price)
        self._counts_tokens = bool(config.tokens_per_minute) or self._budget.limits_tokens
        self._line, self._probing = asyncio.Lock(), asyncio.Lock()
        self._settled = asyncio.Event()
        self.breaker = Breaker(config.breaker_failures, config.breaker_seconds)

    @asynccontextmanager
    async def turn(self, requests: Sequence[Request]) -> AsyncIterator[Reservation]:
        """Wait until a call with these requests may be sent. Raises Stop where none may any more."""
        while self.breaker.open:
            async with self._probing:
                if self.breaker.open:
                    wait = self.backoff(self.breaker.probes)
                    self.raise_if_down(wait)
                    self.breaker.probes += 1
                    await asyncio.sleep(wait)
                    yield await self._reserve(requests)
                    return
        yield await self._reserve(requests)

    def replied(self, reservation: Reservation, replies: Sequence[Reply | Refusal]) -> None:
        """Settle a call that returned."""
        usages = [reply.usage for reply in replies if isinstance(reply, Reply)]
        prompt = sum(usage.prompt_tokens for usage in usages)
        tokens = prompt + sum(usage.answer_tokens for usage in usages)
        money = sum(self._usage.add(usage, self._price) for usage in usages)
        self._limits.settle(reservation.cost.tokens, tokens)
        self._settle(reservation, Cost(1, tokens, money))
        if reservation.prompt_tokens and len(usages) == len(replies):
            self._budget.calibrate(reservation.prompt_tokens, prompt)
        if usages:
            self.breaker.succeeded()
        for reply in replies:
            if isinstance(reply, Refusal):
                self.breaker.refused(reply.reason)

    def failed(self, reservation: Reservation, call: Hashable, failure: CallFailed) -> float:
        """Settle a call that failed; returns the seconds that the server asked all calls to wait, bounded."""
        self._settle(reservation, reservation.cost if isinstance(failure, CallTimedOut) else Cost(1))
        if pause := bounded_pause(failure.retry_after, self._config.longest_wait):
            self._limits.pause(self._now() + pause)
        self.breaker.failed(call, failure.reason, self._now(), reached=failure.reached)
        return pause

    def raise_if_down(self, wait: float = 0.0) -> None:
        """Raise Stop if a call sent after `wait` seconds has no prospect of a reply."""
        if reason := self.breaker.stop_reason(self._now() + wait):
            raise Stop(LlmError, reason)

    def raise_if_unreachable(self) -> None:
        """Raise Stop if no call since the last reply reached the model."""
        if not self.breaker.reached:
            raise Stop(LlmError, self.breaker.unreachable_reason())

    async def _reserve(self, requests: Sequence[Request]) -> Reservation:
        """Wait for the rate limits, then reserve the call's worst case from the budget."""
        reservation = self._budget.bound(requests) if self._counts_tokens else Reservation(Cost(calls=1))
        if self._limits.limited or self._limits.wait(0, self._now()):
            async with self._line:  # in order of arrival
                while (wait := self._limits.wait(reservation.cost.tokens, self._now())) > 0:
                    await asyncio.sleep(wait)
                self._limits.take(reservation.cost.tokens)
        while not self._budget.reserve(reservation.cost):
            if not self._budget.in_flight:
                raise Stop(BudgetReached, f"the next call could exceed the budget ({self._budget} spent)")
            await self._settled.wait()
        return reservation

    def _settle(self, reservation: Reservation, spent: Cost) -> None:
        self._budget.settle(reservation.cost, spent)
        self._settled.set()
        self._settled = asyncio.Event()
