"""Any OpenAI-compatible server as a ChatModel: OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from hardneg.llm.protocol import CallFailed, LlmError, Refusal, Reply, Request, Usage
from hardneg.llm.remote.client import OPENAI, Address, Client
from hardneg.llm.remote.labels import from_top
from hardneg.llm.remote.probe import Capabilities, probe, response_format, top_logprobs
from hardneg.llm.tokens import estimate_prompt_tokens, estimate_tokens
from hardneg.llm.untrusted import KNOWN_MARKERS


class Endpoint:
    """A model behind an address.

    capabilities: what the endpoint does, of an earlier probe; without, it is probed before the first request that needs
    a schema or label probabilities (`await endpoint.probe()` does it beforehand). Where it enforces no schema, none is
    sent: replies are validated in any case. count: exact tokens of a prompt and foreign: strings of its tokenizer,
    where the tokenizer is here (see `open_model`); else tokens are estimated and the known chat markers are foreign.
    seconds: how long a call may be silent.
    """

    batch_size = 1

    context_length: int | None = None

    def __init__(
        self,
        address: Address,
        *,
        capabilities: Capabilities | None = None,
        concurrency: int = 16,
        seconds: float = 600.0,
        count: Callable[[Request], int] | None = None,
        chat_markers: tuple[str, ...] = KNOWN_MARKERS,
    ) -> None:
        self.capabilities, self.concurrency, self.chat_markers = capabilities, concurrency, chat_markers
        self.name, self.identity = address.name, address.identity
        self._client = Client(address, seconds=seconds)
        self._model, self._count = address.model, count
        self._assumed = Capabilities(limit="max_completion_tokens" if address.base == OPENAI else "max_tokens")
        self._probing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Endpoint({self.identity!r})"

    def count_tokens(self, request: Request) -> int:
        """Tokens of the prompt: exact with the model's tokenizer, else a quarter of its bytes."""
        return estimate_prompt_tokens(request) if self._count is None else self._count(request)

    async def probe(self) -> Capabilities:
        """What the endpoint really does; asked once and remembered. Five to eight small requests, not in the store."""
        lock = self._probing.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            if self.capabilities is None:
                self.capabilities = await probe(self._send)
            return self.capabilities

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.aclose()

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer the requests, one call each. Raises CallFailed for what may pass, LlmError for what concerns all."""
        return [await self._one(request) for request in requests]

    async def _one(self, request: Request) -> Reply | Refusal:
        if request.closed_list:
            raise LlmError(f"{self.name} cannot be held to a closed list; take a local model for that")
        able = await self.probe() if request.schema or request.choices else self.capabilities or self._assumed
        if request.choices and not able.top_logprobs:
            raise LlmError(f"{self.name} gives no log-probabilities, so no label probabilities; ask for words instead")
        started = time.perf_counter()
        answer = await self._send(_body(request, able))
        if isinstance(answer, Refusal):
            return answer
        return self._reply(request, answer, time.perf_counter() - started)

    async def _send(self, body: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        def call(client: Any) -> Awaitable[Any]:
            raw: Awaitable[Any] = client.chat.completions.with_raw_response.create(model=self._model, **body)
            return raw

        return await self._client.send(call)

    def _reply(self, request: Request, answer: Mapping[str, Any], seconds: float) -> Reply | Refusal:
        text, finish = _first(answer)
        usage = _usage(answer) or Usage(self.count_tokens(request), estimate_tokens(text), estimated=True)
        if not request.choices:
            return Reply(text, usage, finish, seconds)
        found = from_top(request.choices, top_logprobs(answer))
        if isinstance(found, Refusal):
            return found
        return Reply(request.choices[found.index(max(found))], usage, finish, seconds, found)


def _body(request: Request, able: Capabilities) -> dict[str, Any]:
    """What is sent, the model's name apart."""
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        able.limit: 1 if request.choices else request.max_tokens,
    }
    if able.temperature:
        body["temperature"] = request.temperature
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": able.top_logprobs}
    elif request.schema and able.schema:
        body["response_format"] = _format(request.schema)
    return body


@lru_cache(maxsize=32)
def _format(schema: str) -> dict[str, Any]:
    return response_format(schema)


def _first(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Text and finish of the first choice. Raises CallFailed where there is none."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices:
        raise CallFailed("the reply holds no choices")
    try:
        text = choices[0]["message"].get("content") or ""
        finish = choices[0].get("finish_reason") or "stop"
    except (KeyError, TypeError, AttributeError):
        raise CallFailed("the reply's first choice holds no message") from None
    if not isinstance(text, str):
        raise CallFailed(f"the reply's text is a {type(text).__name__}")
    return text, str(finish)


def _usage(answer: Mapping[str, Any]) -> Usage | None:
    """What the endpoint counted; None where it did not."""
    try:
        usage = answer["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"]), int(cached))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
