"""The way out for calls: paced, within the budget, one by one while the model seems to be gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random

from hardneg.llm.engine.breaker import Breaker
from hardneg.llm.engine.budget import Budget, BudgetReached, Cost, TokenForecast
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.engine.limits import Pace, asked_for, backoff
from hardneg.llm.engine.sending import TimedOut
from hardneg.llm.engine.usage_stats import UsageCounter
from hardneg.llm.protocol import CallFailed, ChatModel, LlmError, Refusal, Reply, Request

UNKNOWN = Cost(calls=1)
"""Of a call whose tokens nobody needs to know beforehand."""


class Stop(Exception):  # noqa: N818 - no error: what is under way goes on
    """No call may go out any more. kind: what to raise in the end; reason: a clause that follows the model's name."""

    def __init__(self, kind: type[LlmError], reason: str) -> None:
        super().__init__(reason)
        self.kind, self.reason = kind, reason


@dataclass(frozen=True)
class Ticket:
    """A call that may go out. worst: what was set aside for it; prompt: its tokens as we counted, 0 if we did not."""

    worst: Cost
    prompt: int = 0


class Admission:
    """Calls pass by `turn`, and tell what became of them by `answered` or `failed`; lives in one event loop."""

    def __init__(self, model: ChatModel, config: EngineConfig, counts: UsageCounter, rng: Random) -> None:
        self._config, self._counts, self._rng = config, counts, rng
        self._now = asyncio.get_running_loop().time
        self._pace = Pace(config.requests_per_minute, config.tokens_per_minute, self._now())
        self._budget, self._estimate = Budget(config), TokenForecast(model, counts.price)
        self._counted = any(
            (config.tokens_per_minute, config.budget_tokens is not None, config.budget_money is not None)
        )
        self._line, self._probing = asyncio.Lock(), asyncio.Lock()
        self._settled = asyncio.Event()
        self.breaker = Breaker(config.breaker_failures, config.breaker_seconds)

    @asynccontextmanager
    async def turn(self, requests: Sequence[Request]) -> AsyncIterator[Ticket]:
        """Wait until a call with these requests may go out. Raises Stop where none may any more."""
        while self.breaker.open:
            async with self._probing:
                if self.breaker.open:
                    await self._wait_to_probe()
                    yield await self._admit(requests)
                    return
        yield await self._admit(requests)

    def answered(self, ticket: Ticket, replies: Sequence[Reply | Refusal]) -> None:
        """A call came back."""
        usages = [reply.usage for reply in replies if isinstance(reply, Reply)]
        prompt = sum(usage.prompt_tokens for usage in usages)
        tokens = prompt + sum(usage.answer_tokens for usage in usages)
        money = sum(self._counts.spend(usage) for usage in usages)
        self._pace.settle(ticket.worst.tokens, tokens)
        self._settle(ticket, Cost(1, tokens, money))
        if ticket.prompt and len(usages) == len(replies):
            self._estimate.learn(ticket.prompt, prompt)
        if usages:
            self.breaker.succeeded()
        for reply in replies:
            if isinstance(reply, Refusal):
                self.breaker.refused(reply.reason)

    def failed(self, ticket: Ticket, call: object, failed: CallFailed) -> float:
        """A call failed; returns the seconds that the server asked everybody to wait, under our limit."""
        self._settle(ticket, ticket.worst if isinstance(failed, TimedOut) else Cost(1))
        pause, cut = asked_for(failed.retry_after, self._config.longest_wait)
        self._counts.waits_cut += cut
        if pause:
            self._pace.pause(self._now() + pause)
        self.breaker.failed(call, failed.reason, self._now(), reached=failed.reached)
        return pause

    def backoff(self, repetition: int) -> float:
        """Seconds to wait before the n-th repetition of a call."""
        config = self._config
        return backoff(repetition, first=config.first_wait, longest=config.longest_wait, rng=self._rng)

    def hope(self, wait: float = 0.0) -> None:
        """Raise Stop where there is none that a call sent after `wait` seconds would be answered."""
        if reason := self.breaker.hopeless(self._now() + wait):
            raise Stop(LlmError, reason)

    def hope_at_the_end(self) -> None:
        """Raise Stop where the last calls met nothing but silence."""
        if not self.breaker.reached:
            raise Stop(LlmError, self.breaker.silence())

    async def _wait_to_probe(self) -> None:
        wait = self.backoff(self.breaker.probes)
        self.hope(wait)
        self.breaker.probes += 1
        await asyncio.sleep(wait)

    async def _admit(self, requests: Sequence[Request]) -> Ticket:
        ticket = Ticket(UNKNOWN)
        if self._counted:
            prompt, answer = self._estimate.count(requests)
            ticket = Ticket(self._estimate.worst(prompt, answer), prompt)
        if self._pace.limited or self._pace.wait(0, self._now()):
            await self._stand_in_line(ticket.worst.tokens)
        while not self._budget.reserve(ticket.worst):
            if not self._budget.in_flight:
                left = f"less is left of the budget than the next call may take ({self._budget} spent)"
                raise Stop(BudgetReached, left)
            await self._settled.wait()
        return ticket

    async def _stand_in_line(self, tokens: float) -> None:
        """First come, first served."""
        async with self._line:
            while (wait := self._pace.wait(tokens, self._now())) > 0:
                await asyncio.sleep(wait)
            self._pace.take(tokens)

    def _settle(self, ticket: Ticket, spent: Cost) -> None:
        self._budget.settle(ticket.worst, spent)
        if self._budget.limited:
            self._settled.set()
            self._settled = asyncio.Event()
