"""A budget in calls, tokens and money that stops before it is passed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.prices import Price
from hardneg.llm.protocol import ChatModel, LlmError, Request


class BudgetReached(LlmError):  # noqa: N818 - the family's name says it
    """The next call might pass the budget; what was in flight was stored, and the same command goes on from there."""


@dataclass(frozen=True)
class Cost:
    """What calls took, or may take at the worst. money: dollars, 0 where no price is known."""

    calls: int = 0
    tokens: float = 0.0
    money: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.calls + other.calls, self.tokens + other.tokens, self.money + other.money)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.calls - other.calls, self.tokens - other.tokens, self.money - other.money)


class TokenForecast:
    """Foretells calls at the worst: the whole prompt, nothing cached, and the longest answer.

    Where a model counts its prompts longer than `count_tokens` does, later estimates are that much longer. In between,
    calls already in flight may take more than was foretold.
    """

    def __init__(self, model: ChatModel, price: Price | None) -> None:
        self._model, self._price = model, price
        self._counted = self._used = 0

    def count(self, requests: Sequence[Request]) -> tuple[int, int]:
        """(prompt tokens, answer tokens at most) of one call, as we count."""
        prompt = sum(self._model.count_tokens(request) for request in requests)
        return prompt, sum(request.max_tokens for request in requests)

    def worst(self, prompt: int, answer: int) -> Cost:
        """The most that a call of so many tokens may cost."""
        longer = max(1.0, self._used / self._counted) if self._counted else 1.0
        money = self._price.cost(prompt * longer, answer) if self._price else 0.0
        return Cost(1, prompt * longer + answer, money)

    def learn(self, counted: int, used: int) -> None:
        """Prompts that we counted so long took so many tokens."""
        self._counted += counted
        self._used += used


class Budget:
    """What was spent, what calls in flight may still take, and the most of both."""

    def __init__(self, config: EngineConfig) -> None:
        self._most = config.budget_calls, config.budget_tokens, config.budget_money
        self.limited = any(most is not None for most in self._most)
        self.spent, self._reserved = Cost(), Cost()

    @property
    def in_flight(self) -> int:
        """Calls that were reserved and not settled."""
        return self._reserved.calls

    def reserve(self, worst: Cost) -> bool:
        """Set aside what a call may cost; False where it does not fit."""
        wanted = self.spent + self._reserved + worst
        amounts = wanted.calls, wanted.tokens, wanted.money
        if any(most is not None and amount > most for most, amount in zip(self._most, amounts, strict=True)):
            return False
        self._reserved += worst
        return True

    def settle(self, worst: Cost, spent: Cost) -> None:
        """A call that was set aside took this."""
        self._reserved -= worst
        self.spent += spent

    def __str__(self) -> str:
        """What was spent of what is limited: "40 of 40 calls, 1,200 of 5,000 tokens"."""
        spent = f"{self.spent.calls:,}", f"{self.spent.tokens:,.0f}", f"{self.spent.money:,.4f}"
        named = zip(spent, self._most, ("calls", "tokens", "dollars"), strict=True)
        return ", ".join(f"{amount} of {most:,} {unit}" for amount, most, unit in named if most is not None)
