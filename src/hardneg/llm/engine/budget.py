"""A budget of calls, tokens and money that is never exceeded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.prices import Price
from hardneg.llm.protocol import ChatModel, LlmError, Request


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


class CostBound:
    """Upper bound of a call's cost: the whole prompt, nothing cached, and the longest answer.

    If the model reports longer prompts than `count_tokens` estimates, later bounds grow in proportion. Until then,
    calls in flight may cost more than their bound.
    """

    def __init__(self, model: ChatModel, price: Price | None) -> None:
        self._model, self._price = model, price
        self._counted = self._reported = 0

    def count(self, requests: Sequence[Request]) -> tuple[int, int]:
        """Return a call's prompt tokens, as counted here, and its maximum number of answer tokens."""
        prompt = sum(self._model.count_tokens(request) for request in requests)
        return prompt, sum(request.max_tokens for request in requests)

    def cost(self, prompt: int, answer: int) -> Cost:
        """Return the maximum cost of a call with these token counts."""
        factor = max(1.0, self._reported / self._counted) if self._counted else 1.0
        money = self._price.cost(prompt * factor, answer) if self._price else 0.0
        return Cost(1, prompt * factor + answer, money)

    def calibrate(self, counted: int, reported: int) -> None:
        """Record the prompt tokens counted here and those that the model reported for the same call."""
        self._counted += counted
        self._reported += reported


class Budget:
    """Cost spent so far, cost reserved by calls in flight, and the limits on their sum."""

    def __init__(self, config: EngineConfig) -> None:
        self._limits = config.budget_calls, config.budget_tokens, config.budget_money
        self.limits_tokens = config.budget_tokens is not None or config.budget_money is not None
        self.spent, self._reserved = Cost(), Cost()

    @property
    def in_flight(self) -> int:
        """Number of calls that are reserved and not settled."""
        return self._reserved.calls

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
