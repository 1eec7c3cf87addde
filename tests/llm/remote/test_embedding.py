"""/v1/embeddings against a scripted server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.llm.scripted_server import ReceivedRequest, ScriptedAnswer, Server, scripted_server

from hardneg.llm.protocol import CallFailed, Refusal, Reply, embedding_request, pack_vector, unpack_vector
from hardneg.llm.remote.client import Address
from hardneg.llm.remote.endpoint import EmbeddingEndpoint


def vector(text: str) -> list[float]:
    return [float(len(text)), 1.0, -0.5]


def embeddings(received: ReceivedRequest) -> dict[str, Any]:
    texts = received.body["input"]
    data = [{"index": index, "embedding": vector(text)} for index, text in enumerate(texts)]
    return {"data": data[::-1], "usage": {"prompt_tokens": 10 * len(texts) + 1}}


def ask(script: Callable[[ReceivedRequest], ScriptedAnswer], *texts: str) -> tuple[list[Reply | Refusal], Server]:
    with scripted_server(script) as server:
        model = EmbeddingEndpoint(Address(server.base, "m"))

        async def go() -> list[Reply | Refusal]:
            try:
                return await model.complete([embedding_request(text) for text in texts])
            finally:
                await model.aclose()

        return asyncio.run(go()), server


def test_vectors_are_ordered_by_index() -> None:
    replies, server = ask(
        lambda received: ScriptedAnswer(embeddings(received)), "tent", "guitar", "a long description of a saucepan"
    )
    assert [unpack_vector(reply.text).tolist() for reply in replies if isinstance(reply, Reply)] == [
        vector("tent"),
        vector("guitar"),
        vector("a long description of a saucepan"),
    ]
    [received] = server.received
    assert received.path == "/v1/embeddings"
    assert (received.body["model"], received.body["encoding_format"]) == ("m", "float")


def test_tokens_of_a_call_are_divided_among_texts() -> None:
    replies, _ = ask(
        lambda received: ScriptedAnswer(embeddings(received)), "tent", "guitar", "a long description of a saucepan"
    )
    tokens = [reply.usage.prompt_tokens for reply in replies if isinstance(reply, Reply)]
    assert sum(tokens) == 31
    assert max(tokens) == tokens[2]


def test_base64_and_missing_usage() -> None:
    [reply], _ = ask(
        lambda _: ScriptedAnswer({"data": [{"index": 0, "embedding": pack_vector(np.array([1.0, 2.0]))}]}), "tent"
    )
    assert isinstance(reply, Reply)
    assert unpack_vector(reply.text).tolist() == [1.0, 2.0]
    assert reply.usage.estimated


def test_refused_text_is_isolated_from_its_batch() -> None:
    def picky(received: ReceivedRequest) -> ScriptedAnswer:
        long = any(len(text) > 100 for text in received.body["input"])
        return ScriptedAnswer({"error": {"message": "too long"}}, 400) if long else ScriptedAnswer(embeddings(received))

    replies, server = ask(picky, "a", "b", "x" * 101, "c", "d")
    assert [type(reply) for reply in replies] == [Reply, Reply, Refusal, Reply, Reply]
    assert len(server.received) == 5  # 5 refused, 2, 3 refused, 1 refused, 2


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"data": []},
        {"data": [{"index": 0}]},
        {"data": [{"index": 0, "embedding": []}]},
        {"data": [{"index": 0, "embedding": ["a"]}]},
        {"data": [{"index": 0, "embedding": [None]}]},
        {"data": [{"index": 0, "embedding": "not base64"}]},
        {"data": [{"index": "x", "embedding": [1.0]}]},
        {"data": ["x"]},
    ],
)
def test_reply_without_vectors_is_a_failed_call(answer: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match=r"\bvectors?\b"):
        ask(lambda _: ScriptedAnswer(answer), "tent")


def test_no_texts_send_nothing() -> None:
    replies, server = ask(lambda _: ScriptedAnswer({}))
    assert replies == []
    assert not server.received
