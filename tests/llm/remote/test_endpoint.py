"""Endpoints as language models, against a scripted server."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from tests.llm.scripted_server import ReceivedRequest, ScriptedAnswer, Server, completion, scripted_server

from hardneg.errors import ConfigError
from hardneg.llm.protocol import CallFailed, LlmError, Message, Refusal, Reply, Request, Usage
from hardneg.llm.remote.capabilities import WORD, Capabilities
from hardneg.llm.remote.client import Address
from hardneg.llm.remote.endpoint import Endpoint
from hardneg.llm.untrusted import KNOWN_MARKERS

ALL = Capabilities(schema=True, top_logprobs=5, usage=True)
SCHEMA = json.dumps({"type": "object", "properties": {}, "required": [], "additionalProperties": False})


def request(**more: Any) -> Request:
    return Request((Message("system", "be brief"), Message("user", "hello")), **{"max_tokens": 9, **more})


def ask(
    script: Callable[[ReceivedRequest], ScriptedAnswer], *requests: Request, capabilities: Capabilities | None = ALL
) -> tuple[list[Reply | Refusal], Server]:
    with scripted_server(script) as server:
        endpoint = Endpoint(Address(server.base, "m"), capabilities=capabilities)

        async def go() -> list[Reply | Refusal]:
            try:
                return await endpoint.complete(requests)
            finally:
                await endpoint.aclose()

        return asyncio.run(go()), server


def test_request_and_reply() -> None:
    [reply], server = ask(
        lambda _: ScriptedAnswer(completion("fine", finish_reason="length")), request(temperature=0.5)
    )
    assert isinstance(reply, Reply)
    assert reply == Reply("fine", Usage(11, 3, 8), "length", reply.seconds)
    assert 0 < reply.seconds < 5
    assert server.received[0].path == "/v1/chat/completions"
    assert server.received[0].body == {
        "model": "m",
        "messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "max_tokens": 9,
        "temperature": 0.5,
    }


def test_other_limits_and_temperatures_as_probed() -> None:
    limited = Capabilities(limit="max_completion_tokens", temperature=False)
    _, server = ask(lambda _: ScriptedAnswer(completion()), request(), capabilities=limited)
    body = server.received[0].body
    assert body["max_completion_tokens"] == 9
    assert not {"temperature", "max_tokens"} & set(body)


def test_schema_is_sent_only_if_enforced() -> None:
    _, server = ask(lambda _: ScriptedAnswer(completion()), request(schema=SCHEMA))
    sent = server.received[0].body["response_format"]
    assert sent["type"] == "json_schema"
    assert sent["json_schema"]["strict"] is True
    assert sent["json_schema"]["schema"] == json.loads(SCHEMA)
    _, server = ask(lambda _: ScriptedAnswer(completion()), request(schema=SCHEMA), capabilities=Capabilities())
    assert "response_format" not in server.received[0].body


def test_probes_once_and_only_if_needed() -> None:
    def enforcing(call: ReceivedRequest) -> ScriptedAnswer:
        return ScriptedAnswer(completion(json.dumps({"word": WORD}) if "response_format" in call.body else "hi"))

    _, server = ask(enforcing, request(), capabilities=None)
    assert len(server.received) == 1
    _, server = ask(enforcing, request(schema=SCHEMA), request(schema=SCHEMA), capabilities=None)
    assert len(server.received) == 3 + 2
    assert all("response_format" in call.body for call in server.received[-2:])


def test_waiting_calls_share_one_probe() -> None:
    with scripted_server(lambda _: ScriptedAnswer(completion())) as server:
        endpoint = Endpoint(Address(server.base, "m"))

        async def go() -> None:
            await asyncio.gather(*(endpoint.complete([request(schema=SCHEMA)]) for _ in range(5)))
            await endpoint.aclose()

        asyncio.run(go())
        assert len(server.received) == 3 + 5


def test_waiting_calls_share_the_failure_of_a_probe() -> None:
    with scripted_server(lambda _: ScriptedAnswer({"error": {"message": "busy"}}, 503, {"retry-after": "0"})) as server:
        endpoint = Endpoint(Address(server.base, "m"))

        async def go() -> list[Any]:
            calls = (endpoint.complete([request(schema=SCHEMA)]) for _ in range(5))
            failures = await asyncio.gather(*calls, return_exceptions=True)
            await endpoint.aclose()
            return failures

        assert all(isinstance(failure, CallFailed) for failure in asyncio.run(go()))
        assert len(server.received) == 3


def with_logprobs(*tokens: tuple[str, float]) -> dict[str, Any]:
    entries = [{"token": token, "logprob": math.log(mass)} for token, mass in tokens]
    return completion("yes", logprobs={"content": [{"top_logprobs": entries}]})


def test_probabilities_of_choices() -> None:
    [reply], server = ask(
        lambda _: ScriptedAnswer(with_logprobs(("no", 0.6), ("yes", 0.2))), request(choices=("yes", "no"))
    )
    assert isinstance(reply, Reply)
    assert reply.probabilities == pytest.approx((0.25, 0.75))
    assert reply.text == "no"
    body = server.received[0].body
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (1, True, 5)


def test_choices_without_logprobs_in_the_reply_are_refused() -> None:
    [reply], _ = ask(lambda _: ScriptedAnswer(completion("yes")), request(choices=("yes", "no")))
    assert isinstance(reply, Refusal)


def test_choices_on_an_endpoint_without_logprobs() -> None:
    with pytest.raises(LlmError, match=r"^m .*log-probabilities"):
        ask(lambda _: ScriptedAnswer(completion()), request(choices=("yes", "no")), capabilities=Capabilities())


def test_closed_lists_are_for_local_models() -> None:
    with pytest.raises(LlmError, match=r"^m .*closed list"):
        ask(lambda _: ScriptedAnswer(completion()), request(closed_list="titles"))
    with pytest.raises(LlmError, match=r"^m .*given texts.*local model"):
        ask(lambda _: ScriptedAnswer(completion()), request(continuations=(" a tent",)))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({}, "holds no choices"),
        ({"choices": []}, "holds no choices"),
        ({"choices": "many"}, "holds no choices"),
        ({"choices": [{}]}, "first choice holds no message"),
        ({"choices": ["hi"]}, "first choice holds no message"),
        ({"choices": [{"message": None}]}, "first choice holds no message"),
        (completion([{"type": "text"}]), "text is a list"),  # type: ignore[arg-type]
    ],
)
def test_reply_without_text_is_a_failed_call(answer: Any, reason: str) -> None:
    with pytest.raises(CallFailed, match=reason):
        ask(lambda _: ScriptedAnswer(answer), request())


def test_withheld_text_is_blank() -> None:
    [reply], _ = ask(lambda _: ScriptedAnswer(completion(None, finish_reason="content_filter")), request())
    assert isinstance(reply, Reply)
    assert (reply.text, reply.finish) == ("", "content_filter")


@pytest.mark.parametrize("usage", [None, {}, "much", {"prompt_tokens": "x", "completion_tokens": 1}])
def test_missing_usage_is_estimated(usage: Any) -> None:
    [reply], _ = ask(lambda _: ScriptedAnswer(completion("four bytes, twice") | {"usage": usage}), request())
    assert isinstance(reply, Reply)
    assert reply.usage == Usage(prompt_tokens=2 + 4 + 2 + 4, answer_tokens=5, estimated=True)


def test_name_and_identity() -> None:
    path = Endpoint(Address("http://localhost:8000/v1", "/home/me/models/tiny"))
    assert path.name == "tiny"
    assert path.identity == "http://localhost:8000/v1#/home/me/models/tiny"
    assert Endpoint(Address("http://localhost:8000/v1/", "org/name")).name == "org/name"
    assert path.chat_markers == KNOWN_MARKERS
    assert path.batch_size == 1


def test_refusal_concerns_one_request() -> None:
    def picky(call: ReceivedRequest) -> ScriptedAnswer:
        long = call.body["max_tokens"] > 9
        return ScriptedAnswer({"error": {"message": "too long"}}, 400) if long else ScriptedAnswer(completion())

    replies, _ = ask(picky, request(), request(max_tokens=10), request())
    assert [type(reply) for reply in replies] == [Reply, Refusal, Reply]


def parts(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "thinking", "thinking": [{"type": "text", "text": "hmm"}]}] + [
        {"type": "text", "text": text} for text in texts
    ]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": parts("fi", "ne")}, "fine"),
        ({"content": ["fi", "ne"]}, "fine"),
        ({"content": parts()}, ""),
        ({"content": None, "reasoning_content": '{"a": 1}'}, '{"a": 1}'),
        ({"content": "", "reasoning": '{"a": 1}'}, '{"a": 1}'),
        ({"content": "fine", "reasoning_content": "hmm"}, "fine"),
        ({}, ""),
    ],
)
def test_content_in_parts_and_answers_among_the_thoughts(message: dict[str, Any], text: str) -> None:
    [reply], _ = ask(lambda _: ScriptedAnswer(completion(message=message)), request(schema=SCHEMA))
    assert isinstance(reply, Reply)
    assert reply.text == text


def test_thoughts_are_no_answer_if_they_are_cut_or_no_json_was_requested() -> None:
    message = {"content": None, "reasoning_content": 'perhaps {"a": 1}'}
    [cut], _ = ask(
        lambda _: ScriptedAnswer(completion(message=message, finish_reason="length")), request(schema=SCHEMA)
    )
    [free], _ = ask(lambda _: ScriptedAnswer(completion(message=message)), request())
    assert isinstance(cut, Reply)
    assert isinstance(free, Reply)
    assert (cut.text, free.text) == ("", "")


def test_thoughts_count_as_answer_tokens_where_tokens_are_estimated() -> None:
    message = {"content": "fine", "reasoning_content": "x" * 400}
    [reply], _ = ask(lambda _: ScriptedAnswer(completion(message=message) | {"usage": None}), request())
    assert isinstance(reply, Reply)
    assert reply.usage.answer_tokens == 1 + 100


def test_an_option_refused_after_the_probe_is_left_out_and_said_once() -> None:
    def later(call: ReceivedRequest) -> ScriptedAnswer:
        refused = "response_format" in call.body
        return (
            ScriptedAnswer({"error": {"message": "json_schema: no"}}, 400) if refused else ScriptedAnswer(completion())
        )

    replies, server = ask(later, *[request(schema=SCHEMA)] * 4)
    assert all(isinstance(reply, Reply) for reply in replies)
    assert len(server.received) == 1 + 4


def test_a_missing_key_matters_only_where_something_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    address = Address("http://127.0.0.1:9/v1", "m", "NO_SUCH_KEY")
    endpoint = Endpoint(address, needs_key=False)
    assert endpoint.count_tokens(request()) == 12
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        asyncio.run(endpoint.complete([request()]))
    with pytest.raises(ConfigError, match="NO_SUCH_KEY"):
        Endpoint(address)
