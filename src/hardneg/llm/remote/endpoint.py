"""Models of any OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal
from weakref import WeakKeyDictionary

import numpy as np

from hardneg.llm.local.weights import PromptTokens
from hardneg.llm.protocol import (
    CallFailed,
    LlmError,
    Refusal,
    Reply,
    Request,
    Usage,
    embedded_text,
    estimate_prompt_tokens,
    estimate_tokens,
    pack_vector,
    unpack_vector,
)
from hardneg.llm.remote.client import OPENAI, Address, Client
from hardneg.llm.untrusted import KNOWN_MARKERS

Body = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[Body | Refusal]]
TokenLimit = Literal["max_tokens", "max_completion_tokens"]

WORD = "zyzzyva"
"""A word that answers no greeting unless a schema permits nothing else."""
SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [WORD]}},
        "required": ["word"],
        "additionalProperties": False,
    }
)
GREETING = [{"role": "user", "content": "Reply with one short greeting."}]
TOP_LOGPROBS = (20, 5)
"""Numbers of likely tokens to request: the maximum of OpenAI, then one that every server accepts."""
TRIES = 5
LONGEST_WAIT = 5.0


@dataclass(frozen=True)
class Capabilities:
    """Observed behaviour of an endpoint.

    schema: answers follow a JSON schema. top_logprobs: number of most likely tokens that it returns, 0 for none. usage: it
    reports tokens. temperature: it accepts one. limit: its name for the maximum number of answer tokens. notes: its
    messages where it refused something.
    """

    schema: bool = False
    top_logprobs: int = 0
    usage: bool = False
    temperature: bool = True
    limit: TokenLimit = "max_tokens"
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """Return one line per capability, for people."""
        lines = [
            f"schema enforced: {'yes' if self.schema else 'no'}",
            f"log-probabilities: {f'of the {self.top_logprobs} most likely tokens' if self.top_logprobs else 'no'}",
            f"usage reported: {'yes' if self.usage else 'no, tokens are estimated'}",
            f"temperature: {'yes' if self.temperature else 'fixed by the server'}",
            f"name of the answer limit: {self.limit}",
        ]
        return "\n".join([*lines, *(f"refused: {note}" for note in self.notes)])


async def probe(send: Send, *, seconds_of_patience: float = 1.0) -> Capabilities:
    """Test an endpoint by three to seven small requests, sent one after the other.

    send: sends a body without the model's name; like `Client.send` it returns a Refusal for a refused request. A failed
    call is sent up to five times; seconds_of_patience: the first wait. Raises CallFailed if even the plain request
    fails, LlmError if it is refused.
    """
    notes: list[str] = []

    async def try_option(**option: Any) -> Body:
        """Return the answer to a request with an option; {} with a note if it fails."""
        try:
            answer = await _send_patiently(send, {"messages": GREETING, limit: 64, **option}, seconds_of_patience)
        except CallFailed as failure:
            answer = Refusal(failure.reason)
        if not isinstance(answer, Refusal):
            return answer
        notes.append(answer.reason)
        return {}

    plain, temperature, limit = await _probe_plain(send, seconds_of_patience)
    schema = _follows_schema(await try_option(response_format=response_format(SCHEMA)))
    tops = 0
    for top in TOP_LOGPROBS:
        if answer := await try_option(logprobs=True, top_logprobs=top):
            tops = min(len(top_logprobs(answer)), top)
            break
    usage = isinstance(plain.get("usage"), dict) and bool(plain["usage"].get("prompt_tokens"))
    return Capabilities(schema, tops, usage, temperature, limit, tuple(notes))


@lru_cache(maxsize=32)
def response_format(schema: str) -> Body:
    """Return the option that requests answers of a JSON schema."""
    return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": json.loads(schema)}}


def top_logprobs(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return (token, log-probability) of the most likely first tokens; [] if the answer holds none."""
    try:
        first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return [(str(entry["token"]), float(entry["logprob"])) for entry in first]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


async def _probe_plain(send: Send, patience: float) -> tuple[Body, bool, TokenLimit]:
    """Return the answer to a plain request, whether a temperature is accepted, and the name of the answer limit."""
    limit: TokenLimit = "max_tokens"
    options: Body = {"temperature": 0}
    while True:
        answer = await _send_patiently(send, {"messages": GREETING, limit: 64, **options}, patience)
        if not isinstance(answer, Refusal):
            return answer, bool(options), limit
        if "max_completion_tokens" in answer.reason and limit == "max_tokens":
            limit = "max_completion_tokens"
        elif "temperature" in answer.reason and options:
            options = {}
        else:
            raise LlmError(f"the endpoint refuses a plain request ({answer.reason}); check the model's name")


async def _send_patiently(send: Send, body: Body, patience: float) -> Body | Refusal:
    for attempt in range(TRIES - 1):
        try:
            return await send(body)
        except CallFailed as failure:
            wait = patience * 2**attempt if failure.retry_after is None else failure.retry_after
            await asyncio.sleep(min(wait, LONGEST_WAIT))
    return await send(body)


def _follows_schema(answer: Body) -> bool:
    try:
        return bool(json.loads(answer["choices"][0]["message"]["content"]) == {"word": WORD})
    except (IndexError, KeyError, TypeError, ValueError):
        return False


class Endpoint(Client):
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
        super().__init__(address, seconds=seconds)
        self.capabilities, self.concurrency, self._prompts = capabilities, concurrency, prompts
        self.chat_markers = prompts.chat_markers if prompts else KNOWN_MARKERS
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
        return (
            shares
            if isinstance(shares, Refusal)
            else Reply(request.choices[shares.index(max(shares))], usage, finish, seconds, shares)
        )

    async def _send(self, body: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        return await self.send(lambda client: client.chat.completions.with_raw_response.create, body)


def _body(request: Request, known: Capabilities) -> dict[str, Any]:
    body: dict[str, Any] = {
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        known.limit: 1 if request.choices else request.max_tokens,
    }
    if known.temperature:
        body["temperature"] = request.temperature
    if request.choices:
        body |= {"logprobs": True, "top_logprobs": known.top_logprobs}
    elif request.schema and known.schema:
        body["response_format"] = response_format(request.schema)
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
    try:
        usage = answer["usage"]
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
        return Usage(int(usage["prompt_tokens"]), int(usage["completion_tokens"]), int(cached))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def label_probabilities(choices: Sequence[str], top: Sequence[tuple[str, float]]) -> tuple[float, ...] | Refusal:
    """Return probabilities of `choices` in their order, summing to one.

    top: (token, log-probability) of the most likely first tokens. A token counts for the only choice that it begins;
    surrounding space is ignored, and case unless choices differ by it alone. A choice that no token begins gets an
    upper bound: the smaller of the least likely token shown and an equal share of the mass not shown. Refused if no
    choice is among the tokens, and if one choice begins another.
    """
    names = [choice.strip() for choice in choices]
    folded = [name.casefold() for name in names]
    ignores_case = len(set(folded)) == len(folded)
    names = folded if ignores_case else names
    if any(a != b and b.startswith(a) for a in names for b in names) or len(set(names)) < len(names):
        return Refusal("one choice begins another, so first tokens do not distinguish them; choose other labels")
    masses = [0.0] * len(names)
    for token, logprob in top:
        start = token.strip().casefold() if ignores_case else token.strip()
        begun = [index for index, name in enumerate(names) if start and name.startswith(start)]
        if len(begun) == 1:
            masses[begun[0]] += math.exp(logprob)
    if not any(masses):
        return Refusal(f"no choice is among the {len(top)} most likely first tokens; name the choices in the prompt")
    shown = [math.exp(logprob) for _, logprob in top]
    unseen = sum(mass == 0 for mass in masses)
    bound = min(*shown, max(1.0 - sum(shown), 0.0) / max(unseen, 1))
    masses = [mass or bound for mass in masses]
    total = sum(masses)
    return tuple(mass / total for mass in masses)


class EmbeddingEndpoint(Client):
    """Any server with /v1/embeddings; a call sends `batch_size` texts. If a call is refused, each half is sent alone."""

    context_length: int | None = None

    def __init__(self, address: Address, *, batch_size: int = 64, concurrency: int = 4, seconds: float = 600.0) -> None:
        super().__init__(address, seconds=seconds)
        self.batch_size, self.concurrency, self.chat_markers = batch_size, concurrency, KNOWN_MARKERS

    def count_tokens(self, request: Request) -> int:
        """Return an estimate."""
        return estimate_prompt_tokens(request)

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Return one reply per text, with the packed vector as its text. Raises the errors of `Client.send`."""
        if not requests:
            return []
        started = time.perf_counter()
        body = {"input": [embedded_text(request) for request in requests], "encoding_format": "float"}
        answer = await self.send(lambda client: client.embeddings.with_raw_response.create, body)
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
