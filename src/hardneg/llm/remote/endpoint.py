"""Any OpenAI-compatible server as a ChatModel: OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

from hardneg.llm.local.prompting import PromptTokens
from hardneg.llm.protocol import CallFailed, LlmError, Refusal, Reply, Request, Usage
from hardneg.llm.remote.client import OPENAI, Address, Client
from hardneg.llm.remote.labels import label_probabilities
from hardneg.llm.remote.probe import Capabilities, probe, response_format, top_logprobs
from hardneg.llm.tokens import estimate_prompt_tokens, estimate_tokens
from hardneg.llm.untrusted import KNOWN_MARKERS

_response_format = lru_cache(maxsize=32)(response_format)


class Endpoint:
    """A model on a server.

    capabilities: result of an earlier probe. Otherwise the endpoint is probed before the first request that needs a
    schema or label probabilities, or by `await endpoint.probe()`. A schema is sent only if the endpoint enforces it;
    replies are validated in any case. seconds: time limit for a silent connection. prompts: the model's tokenizer, for
    exact token counts and its own chat markers.
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
        prompts: PromptTokens | None = None,
    ) -> None:
        self.capabilities, self.concurrency, self._prompts = capabilities, concurrency, prompts
        self.name, self.identity = address.name, address.identity
        self.chat_markers = prompts.chat_markers if prompts else KNOWN_MARKERS
        self._client = Client(address, seconds=seconds)
        self._assumed = Capabilities(limit="max_completion_tokens" if address.base == OPENAI else "max_tokens")
        self._probing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()

    def count_tokens(self, request: Request) -> int:
        """Return the prompt tokens: exact with the model's tokenizer, otherwise a quarter of the bytes."""
        return self._prompts.count(request.messages) if self._prompts else estimate_prompt_tokens(request)

    async def probe(self) -> Capabilities:
        """Return what the endpoint really does, probing it once by three to seven small requests that are not stored."""
        lock = self._probing.setdefault(asyncio.get_running_loop(), asyncio.Lock())
        async with lock:
            if self.capabilities is None:
                self.capabilities = await probe(self._send)
            return self.capabilities

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        await self._client.aclose()

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer the requests, one call each. Raises the errors of `Client.send`, LlmError for unsupported requests."""
        return [await self._answer(request) for request in requests]

    async def _answer(self, request: Request) -> Reply | Refusal:
        if request.closed_list:
            raise LlmError(f"{self.name} cannot be constrained to a closed list; use a local model")
        known = await self.probe() if request.schema or request.choices else self.capabilities or self._assumed
        if request.choices and not known.top_logprobs:
            raise LlmError(
                f"{self.name} returns no log-probabilities, so no label probabilities; request the label as text"
            )
        started = time.perf_counter()
        answer = await self._send(_body(request, known))
        if isinstance(answer, Refusal):
            return answer
        seconds, (text, finish) = time.perf_counter() - started, _first_choice(answer)
        usage = _usage(answer) or Usage(self.count_tokens(request), estimate_tokens(text), estimated=True)
        if not request.choices:
            return Reply(text, usage, finish, seconds)
        shares = label_probabilities(request.choices, top_logprobs(answer))
        if isinstance(shares, Refusal):
            return shares
        return Reply(request.choices[shares.index(max(shares))], usage, finish, seconds, shares)

    async def _send(self, body: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        return await self._client.send(lambda client: client.chat.completions.with_raw_response.create, body)


def _body(request: Request, known: Capabilities) -> dict[str, Any]:
    """Return the body of a call without the model's name."""
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        known.limit: 1 if request.choices else request.max_tokens,
    }
    if known.temperature:
        body["temperature"] = request.temperature
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": known.top_logprobs}
    elif request.schema and known.schema:
        body["response_format"] = _response_format(request.schema)
    return body


def _first_choice(answer: Mapping[str, Any]) -> tuple[str, str]:
    """Return text and finish reason of the first choice. Raises CallFailed if there is none."""
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
    """Return the reported tokens; None if the endpoint reports none."""
    try:
        usage = answer["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"]), int(cached))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
