"""Admission of calls: within the rate limits and the budget, and one at a time while the model seems to be down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from hardneg.llm.engine.breaker import Breaker
from hardneg.llm.engine.budget import Budget, BudgetReached, Cost, CostBound
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.limits import RateLimits, backoff, bounded_pause
from hardneg.llm.engine.usage_stats import UsageStats
from hardneg.llm.prices import Price
from hardneg.llm.protocol import CallFailed, CallTimedOut, ChatModel, LlmError, Refusal, Reply, Request


class Stop(Exception):  # noqa: N818 - not an error: calls in flight continue
    """No further call may be sent. kind: the error to raise in the end; reason: a clause to follow the model's name."""

    def __init__(self, kind: type[LlmError], reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True)
class Reservation:
    """The worst-case cost of an admitted call; prompt_tokens: as counted here, 0 where no limit needs them."""

    cost: Cost
    prompt_tokens: int = 0


class Admission:
    """Calls enter by `turn` and report their end by `replied` or `failed`; lives in one event loop."""

    def __init__(
        self, model: ChatModel, config: EngineConfig, usage: UsageStats, price: Price | None, rng: Random
    ) -> None:
        self._config, self._usage, self._price, self._rng = config, usage, price, rng
        self._now = asyncio.get_running_loop().time
        self._limits = RateLimits(config.requests_per_minute, config.tokens_per_minute, self._now())
        self._budget, self._bound = Budget(config), CostBound(model, price)
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
            self._bound.calibrate(reservation.prompt_tokens, prompt)
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

    def backoff(self, retry: int) -> float:
        """Return the seconds to wait before the n-th retry of a call."""
        config = self._config
        return backoff(retry, first=config.first_wait, longest=config.longest_wait, rng=self._rng)

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
        reservation = Reservation(Cost(calls=1))
        if self._counts_tokens:
            prompt, answer = self._bound.count(requests)
            reservation = Reservation(self._bound.cost(prompt, answer), prompt)
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
