"""The probe reports what an endpoint does, not what it accepts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.llm.scripted_server import completion

from hardneg.llm.protocol import CallFailed, LlmError, Refusal
from hardneg.llm.remote.endpoint import WORD, Capabilities, probe

Body = Mapping[str, Any]


def capable(body: Body) -> dict[str, Any]:
    """An endpoint with all capabilities."""
    enforced = "response_format" in body
    answer = completion(json.dumps({"word": WORD}) if enforced else "Hello!")
    if body.get("logprobs"):
        likeliest = [{"token": f"t{index}", "logprob": -1.0 - index} for index in range(body["top_logprobs"])]
        answer["choices"][0]["logprobs"] = {"content": [{"top_logprobs": likeliest}]}
    return answer


def ignorant(_: Body) -> dict[str, Any]:
    """An endpoint that accepts and ignores every option."""
    return completion("Hello!")


def run_probe(answer: Callable[[Body], dict[str, Any] | Refusal]) -> tuple[Capabilities, list[Body]]:
    bodies: list[Body] = []

    async def send(body: Body) -> dict[str, Any] | Refusal:
        bodies.append(body)
        return answer(body)

    return asyncio.run(probe(send, seconds_of_patience=0.0)), bodies


def test_endpoint_with_all_capabilities() -> None:
    capabilities, bodies = run_probe(capable)
    assert capabilities == Capabilities(schema=True, top_logprobs=20, usage=True)
    assert len(bodies) == 3


def test_endpoint_that_ignores_options() -> None:
    capabilities, _ = run_probe(ignorant)
    assert capabilities == Capabilities(usage=True)
    assert "schema enforced: no" in capabilities.describe()


def test_endpoint_without_usage() -> None:
    capabilities, _ = run_probe(lambda body: {"choices": capable(body)["choices"]})
    assert not capabilities.usage
    assert "tokens are estimated" in capabilities.describe()


def test_refused_options_are_noted() -> None:
    def picky(body: Body) -> dict[str, Any] | Refusal:
        option = {"response_format", "logprobs"} & set(body)
        return Refusal(f"400 unknown {option.pop()}") if option else capable(body)

    capabilities, _ = run_probe(picky)
    assert capabilities == Capabilities(usage=True, notes=capabilities.notes)
    assert capabilities.notes == ("400 unknown response_format", *["400 unknown logprobs"] * 2)
    assert "400 unknown logprobs" in capabilities.describe()


def test_fewer_logprobs_if_many_are_refused() -> None:
    capabilities, _ = run_probe(lambda body: Refusal("at most 5") if body.get("top_logprobs", 0) > 5 else capable(body))
    assert capabilities.top_logprobs == 5


def test_newer_limit_name_and_fixed_temperature() -> None:
    def reasoning(body: Body) -> dict[str, Any] | Refusal:
        if "max_tokens" in body:
            return Refusal("400 use 'max_completion_tokens' instead")
        return Refusal("400 'temperature' does not support 0") if "temperature" in body else capable(body)

    capabilities, bodies = run_probe(reasoning)
    assert (capabilities.limit, capabilities.temperature) == ("max_completion_tokens", False)
    assert all("max_tokens" not in body and "temperature" not in body for body in bodies[2:])


def test_failed_calls_are_retried() -> None:
    times = 0

    def shaky(body: Body) -> dict[str, Any]:
        nonlocal times
        times += 1
        if times % 3:
            raise CallFailed("500")
        return capable(body)

    assert run_probe(shaky)[0] == Capabilities(schema=True, top_logprobs=20, usage=True)


def test_option_under_which_every_call_fails() -> None:
    def broken(body: Body) -> dict[str, Any]:
        if "response_format" in body:
            raise CallFailed("500 grammar crashed")
        return capable(body)

    capabilities, _ = run_probe(broken)
    assert not capabilities.schema
    assert capabilities.notes == ("500 grammar crashed",)


def test_unreachable_endpoint_is_a_failed_call() -> None:
    def gone(_: Body) -> dict[str, Any]:
        raise CallFailed("refused", reached=False)

    with pytest.raises(CallFailed):
        run_probe(gone)


def test_refused_plain_request_is_an_error() -> None:
    with pytest.raises(LlmError, match="400 no such model"):
        run_probe(lambda _: Refusal("400 no such model"))


@pytest.mark.parametrize("answer", [{}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": None}]}])
def test_malformed_answers(answer: dict[str, Any]) -> None:
    assert run_probe(lambda _: answer)[0] == Capabilities()
