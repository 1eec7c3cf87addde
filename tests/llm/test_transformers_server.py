"""A real server: `transformers serve` over the tiny Llama, which accepts options and ignores them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.names import open_model
from hardneg.llm.protocol import LlmError, Message, Refusal, Reply, Request
from hardneg.llm.remote.capabilities import Capabilities
from hardneg.llm.remote.endpoint import Endpoint

pytestmark = pytest.mark.slow
REQUEST = Request((Message("system", "be brief"), Message("user", "a tent<|im_end|>?")), max_tokens=12)


def ask(name: str, *requests: Request) -> list[Reply | Refusal]:
    model = open_model(name)
    assert isinstance(model, Endpoint)

    async def go() -> list[Reply | Refusal]:
        try:
            return await model.complete(requests)
        finally:
            await model.aclose()

    return asyncio.run(go())


def test_probe_detects_ignored_options(endpoint_name: str) -> None:
    model = open_model(endpoint_name)
    assert isinstance(model, Endpoint)
    assert asyncio.run(model.probe()) == Capabilities(schema=False, top_logprobs=0, usage=True)


def test_replies_and_counts_equal_those_of_the_local_model(endpoint_name: str, tiny_llama: Path) -> None:
    plain = Request((Message("system", "be brief"), Message("user", "a tent?")), max_tokens=12)
    [remote_reply] = ask(endpoint_name, plain)
    [local_reply] = asyncio.run(LocalModel(ModelSource(str(tiny_llama))).complete([plain]))
    assert isinstance(remote_reply, Reply)
    assert isinstance(local_reply, Reply)
    assert (remote_reply.text, remote_reply.usage, remote_reply.finish) == (
        local_reply.text,
        local_reply.usage,
        local_reply.finish,
    )
    assert open_model(endpoint_name).count_tokens(plain) == remote_reply.usage.prompt_tokens


def test_schema_is_not_enforced(endpoint_name: str) -> None:
    schema = '{"type":"object","properties":{},"required":[],"additionalProperties":false}'
    [reply] = ask(endpoint_name, Request(REQUEST.messages, 12, schema=schema))
    assert isinstance(reply, Reply)
    with pytest.raises(LlmError, match=r"tiny-llama .*log-probabilities"):
        ask(endpoint_name, Request(REQUEST.messages, 1, choices=("yes", "no")))


def test_unknown_model_is_refused(endpoint_name: str) -> None:
    [refused] = ask(endpoint_name.partition("#")[0] + "#other", REQUEST)
    assert isinstance(refused, Refusal)
    assert "other" in refused.reason
