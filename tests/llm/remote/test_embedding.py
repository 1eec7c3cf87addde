"""/v1/embeddings against a small server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.llm.faulty import Heard, Said, Server, answering

from hardneg.llm.protocol import CallFailed, Refusal, Reply
from hardneg.llm.remote.client import Address
from hardneg.llm.remote.embedding import EmbeddingEndpoint
from hardneg.llm.vectors import embedding_request, pack_vector, unpack_vector


def vector(text: str) -> list[float]:
    return [float(len(text)), 1.0, -0.5]


def embeddings(heard: Heard) -> dict[str, Any]:
    texts = heard.body["input"]
    data = [{"index": place, "embedding": vector(text)} for place, text in enumerate(texts)]
    return {"data": data[::-1], "usage": {"prompt_tokens": 10 * len(texts) + 1}}


def ask(script: Callable[[Heard], Said], *texts: str) -> tuple[list[Reply | Refusal], Server]:
    with answering(script) as server:
        model = EmbeddingEndpoint(Address(server.base, "m"))

        async def go() -> list[Reply | Refusal]:
            try:
                return await model.complete([embedding_request(text) for text in texts])
            finally:
                await model.aclose()

        return asyncio.run(go()), server


def test_a_call_takes_many_texts_and_order_is_by_index() -> None:
    replies, server = ask(lambda heard: Said(embeddings(heard)), "tent", "guitar", "a long description of a saucepan")
    assert [unpack_vector(reply.text).tolist() for reply in replies if isinstance(reply, Reply)] == [
        vector("tent"),
        vector("guitar"),
        vector("a long description of a saucepan"),
    ]
    [heard] = server.heard
    assert heard.path == "/v1/embeddings"
    assert (heard.body["model"], heard.body["encoding_format"]) == ("m", "float")


def test_the_call_s_tokens_are_shared_out_whole() -> None:
    replies, _ = ask(lambda heard: Said(embeddings(heard)), "tent", "guitar", "a long description of a saucepan")
    tokens = [reply.usage.prompt_tokens for reply in replies if isinstance(reply, Reply)]
    assert sum(tokens) == 31
    assert max(tokens) == tokens[2]


def test_base64_is_read_as_well_and_missing_usage_is_estimated() -> None:
    [reply], _ = ask(lambda _: Said({"data": [{"index": 0, "embedding": pack_vector(np.array([1.0, 2.0]))}]}), "tent")
    assert isinstance(reply, Reply)
    assert unpack_vector(reply.text).tolist() == [1.0, 2.0]
    assert reply.usage.estimated


def test_a_text_that_is_refused_costs_itself_alone() -> None:
    def picky(heard: Heard) -> Said:
        long = any(len(text) > 100 for text in heard.body["input"])
        return Said({"error": {"message": "too long"}}, 400) if long else Said(embeddings(heard))

    replies, server = ask(picky, "a", "b", "x" * 101, "c", "d")
    assert [type(reply) for reply in replies] == [Reply, Reply, Refusal, Reply, Reply]
    assert len(server.heard) == 5  # 5 refused, 2, 3 refused, 1 refused, 2


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
def test_answers_without_vectors_are_failed_calls(answer: dict[str, Any]) -> None:
    with pytest.raises(CallFailed, match=r"\bvectors?\b"):
        ask(lambda _: Said(answer), "tent")


def test_nothing_to_ask_asks_nothing() -> None:
    replies, server = ask(lambda _: Said({}))
    assert replies == []
    assert not server.heard
