"""Models of any OpenAI-compatible server: OpenAI, vLLM, Ollama, llama.cpp, `transformers serve`."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any
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
from hardneg.llm.remote.adaptation import AdaptiveSender
from hardneg.llm.remote.answers import first_choice, reasoning_text, top_logprobs
from hardneg.llm.remote.capabilities import Body, Capabilities, probe
from hardneg.llm.remote.client import OPENAI, Address, Client
from hardneg.llm.remote.token_counts import PromptCeiling, read_prompt_tokens, read_usage
from hardneg.llm.untrusted import KNOWN_MARKERS


class Endpoint(Client):
    """A model on a server.

    capabilities: result of an earlier probe. Otherwise the endpoint is probed before the first request that needs a
    schema or label probabilities, or by `await endpoint.probe()`. A schema is sent only if the endpoint enforces it;
    replies are validated in any case. An option that is refused later is left out from then on. seconds: time limit for
    a silent connection. prompts: the model's tokenizer, for exact token counts and its own chat markers. needs_key:
    False where nothing will be sent.
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
        needs_key: bool = True,
    ) -> None:
        super().__init__(address, seconds=seconds, needs_key=needs_key)
        self.concurrency, self._prompts = concurrency, prompts
        self.chat_markers = prompts.chat_markers if prompts else KNOWN_MARKERS
        assumed = Capabilities(limit="max_completion_tokens" if address.base == OPENAI else "max_tokens")
        self._sender = AdaptiveSender(self._send, capabilities or assumed)
        self._is_probed, self._ceiling, self._estimates_tokens = capabilities is not None, PromptCeiling(), False
        self._probing: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Task[None]] = WeakKeyDictionary()

    @property
    def notices(self) -> list[str]:
        """Lines about the server for the user, in the order in which they were noticed."""
        return self._sender.notices

    def count_tokens(self, request: Request) -> int:
        """Return the prompt tokens: exact with the model's tokenizer, otherwise a quarter of the bytes."""
        return self._prompts.count(request.messages) if self._prompts else estimate_prompt_tokens(request)

    async def probe(self, *schemas: str) -> Capabilities:
        """Return what the endpoint really does, probing it once by a few small requests that are not stored.

        schemas: of the replies that will be requested.
        """
        if not self._is_probed:
            loop = asyncio.get_running_loop()
            if (probing := self._probing.get(loop)) is None or probing.done():
                probing = self._probing[loop] = loop.create_task(self._probe(schemas))
            await asyncio.shield(probing)  # calls that wait share one probe, and its failure
        return self._sender.known

    async def _probe(self, schemas: Sequence[str]) -> None:
        self._sender.known = found = await probe(self._send, schemas)
        self._is_probed = True
        if schemas and not (found.schema and found.patterns):
            what = "no patterns in JSON schemas" if found.schema else "no JSON schema"
            refused = f" ({found.notes[0]})" if found.notes else ""
            self.notices.append(f"the server enforces {what}{refused}; every reply is validated here")

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer the requests, one call each. Raises the errors of `Client.send`, LlmError for unsupported requests."""
        return [await self._answer(request) for request in requests]

    async def _answer(self, request: Request) -> Reply | Refusal:
        if request.closed_list:
            raise LlmError(f"{self.name} cannot be constrained to a closed list; use a local model")
        if request.continuations:
            raise LlmError(
                f"{self.name} cannot score given texts, as chat APIs return log-probabilities of their own answers only; use a local model"
            )
        if request.schema or request.choices:
            await self.probe(*filter(None, [request.schema]))
        if request.choices and not self._sender.known.top_logprobs:
            raise LlmError(
                f"{self.name} returns no log-probabilities, so no label probabilities; request the label as text"
            )
        started = time.perf_counter()
        answer = await self._sender.send(request)
        if isinstance(answer, Refusal):
            return answer
        seconds, (text, finish) = time.perf_counter() - started, first_choice(answer, as_json=bool(request.schema))
        usage = self._usage(request, answer, text)
        if not request.choices:
            return Reply(text, usage, finish, seconds)
        shares = label_probabilities(request.choices, top_logprobs(answer))
        return (
            shares
            if isinstance(shares, Refusal)
            else Reply(request.choices[shares.index(max(shares))], usage, finish, seconds, shares)
        )

    def _usage(self, request: Request, answer: Body, text: str) -> Usage:
        """Return the tokens of an answer, and note counts that cannot be right or that stop at a ceiling."""
        counted, thoughts = self.count_tokens(request), reasoning_text(answer)
        written = estimate_tokens(text) + (0 if text == thoughts else estimate_tokens(thoughts))
        usage = read_usage(answer, Usage(counted, written), request.max_tokens)
        if usage.estimated and not self._estimates_tokens:
            self._estimates_tokens = True
            self.notices.append(f"tokens are estimated from the texts, since {usage.reason}")
        if notice := self._ceiling.add(answer, counted):
            self.notices.append(notice)
        return usage

    async def _send(self, body: Mapping[str, Any]) -> Body | Refusal:
        return await self.send(lambda client: client.chat.completions.with_raw_response.create, body)


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


NO_COUNT = "the server reports no plausible token counts"


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
    total = read_prompt_tokens(answer, int(lengths.sum()))
    if total is None:
        return [Usage(int(length), 0, estimated=True, reason=NO_COUNT) for length in lengths]
    bounds = np.floor(total * lengths.cumsum() / lengths.sum() + 0.5).astype(int)
    return [Usage(int(tokens), 0) for tokens in np.diff(bounds, prepend=0)]
