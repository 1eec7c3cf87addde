"""Text embeddings from an endpoint, as a ChatModel (see `vectors`)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hardneg.llm.protocol import CallFailed, Refusal, Reply, Request, Usage
from hardneg.llm.remote.client import Address, Client
from hardneg.llm.tokens import estimate_prompt_tokens
from hardneg.llm.untrusted import KNOWN_MARKERS
from hardneg.llm.vectors import embedded_text, pack_vector, unpack_vector


class EmbeddingEndpoint:
    """Any server with /v1/embeddings; a call sends `batch_size` texts. If a call is refused, each half is sent alone."""

    context_length: int | None = None

    def __init__(self, address: Address, *, batch_size: int = 64, concurrency: int = 4, seconds: float = 600.0) -> None:
        self.name, self.identity, self.chat_markers = address.name, address.identity, KNOWN_MARKERS
        self.batch_size, self.concurrency = batch_size, concurrency
        self._client = Client(address, seconds=seconds)

    def count_tokens(self, request: Request) -> int:
        """Return an estimate."""
        return estimate_prompt_tokens(request)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.aclose()

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Return one reply per text, with the packed vector as its text. Raises the errors of `Client.send`."""
        if not requests:
            return []
        started = time.perf_counter()
        body = {"input": [embedded_text(request) for request in requests], "encoding_format": "float"}
        answer = await self._client.send(lambda client: client.embeddings.with_raw_response.create, body)
        if not isinstance(answer, Refusal):
            return _replies(requests, answer, (time.perf_counter() - started) / len(requests))
        if len(requests) == 1:
            return [answer]
        middle = len(requests) // 2
        return [*await self.complete(requests[:middle]), *await self.complete(requests[middle:])]


def _replies(requests: Sequence[Request], answer: Mapping[str, Any], seconds: float) -> list[Reply | Refusal]:
    """Return one reply per request. Raises CallFailed if a vector is missing or invalid."""
    data = answer.get("data")
    if not isinstance(data, list) or len(data) != len(requests):
        raise CallFailed(f"the reply does not hold {len(requests)} vectors")
    try:
        vectors = [entry["embedding"] for entry in sorted(data, key=lambda entry: int(entry["index"]))]
        texts = [  # some servers send base64 although "float" is requested
            pack_vector(unpack_vector(vector) if isinstance(vector, str) else np.asarray(vector, np.float32))
            for vector in vectors
        ]
    except (KeyError, TypeError, ValueError):
        raise CallFailed("the reply holds an invalid vector") from None
    usages = _usages(requests, answer)
    return [Reply(text, usage, seconds=seconds) for text, usage in zip(texts, usages, strict=True)]


def _usages(requests: Sequence[Request], answer: Mapping[str, Any]) -> list[Usage]:
    """Divide the call's tokens among its texts by their estimated lengths; the sum is that of the call."""
    lengths = np.array([estimate_prompt_tokens(request) for request in requests])
    try:
        total = int(answer["usage"]["prompt_tokens"])
    except (KeyError, TypeError, ValueError):
        return [Usage(int(length), 0, estimated=True) for length in lengths]
    bounds = np.floor(total * lengths.cumsum() / lengths.sum() + 0.5).astype(int)
    return [Usage(int(tokens), 0) for tokens in np.diff(bounds, prepend=0)]
