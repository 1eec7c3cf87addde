"""A refused option is left out from then on; other refusals stay those of their request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from tests.llm.scripted_server import completion

from hardneg.llm.protocol import CallFailed, Message, Refusal, Request
from hardneg.llm.remote.adaptation import MAX_TRIALS, AdaptiveSender
from hardneg.llm.remote.capabilities import Capabilities

Body = Mapping[str, Any]
SCHEMA = json.dumps({"type": "object", "properties": {"pattern": {"type": "string", "pattern": "^a{1,9}$"}}})
REQUEST = Request((Message("system", "be brief"), Message("user", "hello")), 9, schema=SCHEMA)
ALL = Capabilities(schema=True)


class Scripted:
    """A sender against a scripted endpoint, and the bodies that it received."""

    def __init__(self, script: Callable[[Body], dict[str, Any] | Refusal], known: Capabilities = ALL) -> None:
        self.bodies: list[Body] = []

        async def send(body: Body) -> dict[str, Any] | Refusal:
            self.bodies.append(body)
            await asyncio.sleep(0)
            return script(body)

        self.sender = AdaptiveSender(send, known)

    def ask(self, *requests: Request) -> list[Any]:
        async def go() -> list[Any]:
            return list(await asyncio.gather(*map(self.sender.send, requests)))

        return asyncio.run(go())


def refusing(option: str, message: str) -> Callable[[Body], dict[str, Any] | Refusal]:
    return lambda body: Refusal(f"400 {message}") if option in json.dumps(body) else completion()


@pytest.mark.parametrize(
    ("option", "message", "change", "calls"),
    [
        ('"pattern": "', "Invalid schema: 'pattern' is not permitted", {"patterns": False}, 2),
        ("response_format", "response_format is not supported", {"patterns": False, "schema": False}, 3),
        ("response_format", "Bad Request", {"patterns": False, "schema": False}, 3),
        ("temperature", "Unsupported value: 'temperature'", {"temperature": False}, 2),
        ("max_tokens", "use 'max_completion_tokens' instead", {"limit": "max_completion_tokens"}, 2),
        ("max_tokens", "Unrecognized request argument: max_tokens", {"limit": "max_completion_tokens"}, 2),
        ('"system"', "System role not supported", {"system": False}, 2),
    ],
)
def test_a_refused_option_is_left_out_and_said_once(
    option: str, message: str, change: dict[str, Any], calls: int
) -> None:
    scripted = Scripted(refusing(option, message))
    assert scripted.ask(REQUEST) == [completion()]
    assert len(scripted.bodies) == calls
    assert {name: getattr(scripted.sender.known, name) for name in change} == change
    assert scripted.ask(REQUEST, REQUEST) == [completion()] * 2
    assert len(scripted.bodies) == calls + 2
    assert len(scripted.sender.notices) == 1
    assert message in scripted.sender.notices[0]


def test_calls_at_the_same_time_learn_once() -> None:
    scripted = Scripted(refusing("temperature", "no temperature"))
    assert scripted.ask(*[REQUEST] * 8) == [completion()] * 8
    assert len(scripted.bodies) == 16
    assert len(scripted.sender.notices) == 1


def test_several_options_are_corrected_one_after_the_other() -> None:
    def picky(body: Body) -> dict[str, Any] | Refusal:
        for name in ("temperature", "max_tokens", "response_format"):
            if name in body:
                return Refusal(f"422 unknown field {name}")
        return completion()

    scripted = Scripted(picky)
    assert scripted.ask(REQUEST) == [completion()]
    assert set(scripted.bodies[-1]) == {"messages", "max_completion_tokens"}
    assert len(scripted.bodies) == 5


@pytest.mark.parametrize(
    "message",
    [
        "maximum context length is 2048 tokens, however you requested 3000",
        "'max_tokens' or 'max_completion_tokens' is too large: 4096",
        "the prompt is too long",
    ],
)
def test_a_prompt_that_is_too_long_is_not_sent_again(message: str) -> None:
    scripted = Scripted(lambda _: Refusal(f"400 {message}"))
    assert scripted.ask(REQUEST) == [Refusal(f"400 {message}")]
    assert len(scripted.bodies) == 1


def test_vain_corrections_are_bounded_and_not_remembered() -> None:
    scripted = Scripted(lambda _: Refusal("400 the content was filtered by temperature policy"))
    for _ in range(MAX_TRIALS + 5):
        assert scripted.ask(REQUEST) == [Refusal("400 the content was filtered by temperature policy")]
    assert scripted.sender.known == ALL
    assert not scripted.sender.notices
    assert len(scripted.bodies) <= 4 * MAX_TRIALS + 5


def test_an_unclear_refusal_after_the_schema_was_accepted_is_the_requests_own() -> None:
    scripted = Scripted(lambda body: Refusal("400 no") if "bad" in str(body["messages"]) else completion())
    bad = Request((Message("user", "bad"),), 9, schema=SCHEMA)
    assert scripted.ask(REQUEST) == [completion()]
    assert scripted.ask(bad) == [Refusal("400 no")]
    assert len(scripted.bodies) == 2


def test_a_limit_that_is_refused_under_both_names_ends() -> None:
    scripted = Scripted(lambda body: Refusal(f"400 unknown {next(name for name in body if 'tokens' in name)}"))
    assert scripted.ask(REQUEST) == [Refusal("400 unknown max_tokens")]
    assert len(scripted.bodies) == 2


def test_a_fault_of_the_grammar_counts_as_a_refusal_and_others_do_not() -> None:
    def crashing(body: Body) -> dict[str, Any]:
        if "response_format" in body:
            raise CallFailed("500 failed to parse grammar")
        return completion()

    assert Scripted(crashing).ask(REQUEST) == [completion()]

    def down(_: Body) -> dict[str, Any]:
        raise CallFailed("500 failed to parse grammar")

    with pytest.raises(CallFailed, match="grammar"):
        Scripted(down).ask(REQUEST)

    def busy(_: Body) -> dict[str, Any]:
        raise CallFailed("503 json_schema workers are busy")

    scripted = Scripted(busy)
    with pytest.raises(CallFailed, match="503"):
        scripted.ask(REQUEST)
    assert len(scripted.bodies) == 1


def test_instructions_are_kept_where_system_messages_are_refused() -> None:
    scripted = Scripted(refusing('"system"', "System role not supported"))
    scripted.ask(REQUEST)
    assert scripted.bodies[-1]["messages"] == [{"role": "user", "content": "be brief\n\nhello"}]
