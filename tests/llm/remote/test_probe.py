"""The probe reports what an endpoint does, not what it accepts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.llm.scripted_server import completion

from hardneg.llm.protocol import CallFailed, LlmError, Refusal
from hardneg.llm.remote.capabilities import WORD, Capabilities, probe
from hardneg.llm.structured import strict_schema
from hardneg.text.generation.message_formats import NegativesReply, ProfileReply

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


def run_probe(answer: Callable[[Body], dict[str, Any] | Refusal], *schemas: str) -> tuple[Capabilities, list[Body]]:
    bodies: list[Body] = []

    async def send(body: Body) -> dict[str, Any] | Refusal:
        bodies.append(body)
        return answer(body)

    return asyncio.run(probe(send, schemas, seconds_of_patience=0.0)), bodies


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


# ------------------------------------------------------------------------------------------------- the real schemas

PROFILE, NESTED = strict_schema(ProfileReply), strict_schema(NegativesReply)


def sent_schema(body: Body) -> str:
    return json.dumps(body.get("response_format", {}))


def test_the_schemas_are_those_of_the_real_replies_and_one_more_word() -> None:
    _, bodies = run_probe(capable, PROFILE, NESTED)
    first, second = (body["response_format"]["json_schema"] for body in bodies if "response_format" in body)
    assert list(first["schema"]["properties"]) == ["word", "summarization", "reasoning"]
    assert first["schema"]["properties"]["reasoning"] == json.loads(PROFILE)["properties"]["reasoning"]
    assert first["strict"] is True
    assert second["schema"]["$defs"] == json.loads(NESTED)["$defs"]
    assert second["schema"]["required"] == ["word", "negatives"]


def test_a_server_that_refuses_patterns_gets_schemas_without() -> None:
    def no_patterns(body: Body) -> dict[str, Any] | Refusal:
        return Refusal("400 unsupported keyword") if '"pattern"' in sent_schema(body) else capable(body)

    capabilities, bodies = run_probe(no_patterns, PROFILE, NESTED)
    assert (capabilities.schema, capabilities.patterns) == (True, False)
    assert "without patterns" in capabilities.describe()
    assert sum("response_format" in body for body in bodies) == 3, "patterns are not tried again"


def test_a_server_that_refuses_nested_schemas_gets_none() -> None:
    def flat(body: Body) -> dict[str, Any] | Refusal:
        return Refusal("400 $ref") if "$defs" in sent_schema(body) else capable(body)

    capabilities, _ = run_probe(flat, PROFILE, NESTED)
    assert not capabilities.schema
    assert run_probe(flat, PROFILE)[0].schema


def test_an_answer_that_is_cut_or_preceded_by_thoughts_still_shows_the_word() -> None:
    for text in (f'{{"word": "{WORD}", "summarization": "People who', f'<think>{{}}</think> {{"word":"{WORD}"}}'):
        capabilities, _ = run_probe(lambda body, text=text: completion(text if "response_format" in body else "hi"))  # type: ignore[misc]
        assert capabilities.schema


@pytest.mark.parametrize("tokens", [0, -1, None, "many", 10**8])
def test_implausible_usage_is_not_reported_usage(tokens: Any) -> None:
    capabilities, _ = run_probe(
        lambda body: capable(body) | {"usage": {"prompt_tokens": tokens, "completion_tokens": 1}}
    )
    assert not capabilities.usage
    assert f"{tokens!r} prompt tokens" in capabilities.describe()
