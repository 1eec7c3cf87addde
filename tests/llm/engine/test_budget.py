"""Cost bounds and the budget."""

from __future__ import annotations

import pytest
from tests.llm.function_model import FunctionModel

from hardneg.llm.engine.admission import Budget, Cost, Reservation
from hardneg.llm.engine.config import EngineConfig
from hardneg.llm.protocol import Message, Request
from hardneg.llm.usage import Price

MODEL = FunctionModel(lambda request: "")


def test_calls_in_flight_are_reserved() -> None:
    budget = Budget(EngineConfig(budget_tokens=100), MODEL, None)
    assert budget.reserve(Cost(1, 60))
    assert not budget.reserve(Cost(1, 60))
    assert budget.in_flight == 1
    budget.settle(Cost(1, 60), Cost(1, 20))
    assert budget.in_flight == 0
    assert budget.reserve(Cost(1, 80)), "20 are spent"
    assert not budget.reserve(Cost(1, 1))


@pytest.mark.parametrize(
    ("limit", "expected"),
    [
        ({"budget_calls": 2}, "2 of 2 calls"),
        ({"budget_tokens": 20}, "20 of 20 tokens"),
        ({"budget_money": 3.0}, "3.0000 of 3.0 dollars"),
        ({"budget_calls": 2, "budget_money": 3.0}, "2 of 2 calls, 3.0000 of 3.0 dollars"),
    ],
)
def test_each_limit_applies(limit: dict[str, float], expected: str) -> None:
    budget = Budget(EngineConfig(**limit), MODEL, None)
    cost = Cost(1, 10, 1.5)
    for _ in range(2):
        assert budget.reserve(cost)
        budget.settle(cost, cost)
    assert not budget.reserve(cost)
    assert str(budget) == expected


def test_without_limits_everything_fits() -> None:
    budget = Budget(EngineConfig(), MODEL, None)
    assert budget.reserve(Cost(10**9, 1e12, 1e9))


def test_bound_is_the_prompt_and_the_longest_answer() -> None:
    budget = Budget(EngineConfig(), MODEL, Price(prompt=1e6, cached=0, answer=2e6))
    requests = [Request((Message("user", "a b c"),), 7), Request((Message("user", "d"),), 1)]
    assert budget.bound(requests) == Reservation(Cost(1, 12, 20), 4)
    budget.calibrate(10, 15)
    assert budget.bound(requests).cost == Cost(1, 14, 22), "prompts are 1.5 times as long as counted"
    budget.calibrate(100, 10)
    assert budget.bound(requests).cost == Cost(1, 12, 20), "never less than counted"
