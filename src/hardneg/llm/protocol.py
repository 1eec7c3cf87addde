"""The interface of language models: requests, replies, tasks and the protocol `ChatModel`.

An embedding is a reply as well, float32 numbers in base64 text, so that store, limits and budget apply to it. So are
the log-probabilities of given texts.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np

from hardneg.errors import HardnegError
from hardneg.types import Floats

Role = Literal["system", "user", "assistant"]


class LlmError(HardnegError, RuntimeError):
    """A language model, its endpoint or its store cannot do what is required."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True)
class Request:
    """Everything that determines a reply, apart from the model.

    max_tokens: of the answer. temperature: 0 for the most likely answer. schema: JSON Schema (as JSON text) of the
    answer, "" for free text. choices: labels whose probabilities are requested instead of an answer. continuations:
    texts whose log-probabilities after the prompt are requested instead of an answer. closed_list: name of a closed
    list of answers that the model has, "" for none. excluded: answers of that list that are not allowed. n_answers:
    number of different answers of that list, one a line; fewer only where no other is allowed. draw: 0, 1, ...
    distinguishes draws of one request; a repair request keeps its draw.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    schema: str = ""
    choices: tuple[str, ...] = ()
    closed_list: str = ""
    excluded: tuple[str, ...] = ()
    n_answers: int = 1
    draw: int = 0
    continuations: tuple[str, ...] = ()

    def digest(self, model: str) -> str:
        """Return the hex SHA-256 of the request without its draw and of the model's identity."""
        return hashlib.sha256(f"{model}\n{self.canonical}".encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def canonical(self) -> str:
        """The request without its draw as JSON with sorted keys."""
        values: dict[str, object] = {
            "messages": [(message.role, message.content) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "schema": self.schema,
            "choices": self.choices,
            "catalogue": self.closed_list,
            "without": self.excluded,
        }
        if self.continuations:  # other requests keep their keys in existing stores
            values["continuations"] = self.continuations
        if self.n_answers > 1:  # left out otherwise, so that earlier stored replies keep their keys
            values["answers"] = self.n_answers
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Usage:
    """Tokens of one call as reported by the back end.

    estimated: it reported no plausible counts, so they are estimated here. reason: why, "" for counts from the store.
    """

    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int = 0
    """Prompt tokens from the back end's prefix cache, which some bill at a lower price."""
    estimated: bool = False
    reason: str = field(default="", compare=False)


@dataclass(frozen=True)
class Reply:
    """A raw reply.

    text: the answer; for an embedding, or log-probabilities of continuations, float32 bytes in base64. finish: "stop", "length", or another word of the
    back end. seconds: from sending to the last byte. probabilities: of the request's choices, in their order, summing
    to 1; () without choices. limit: maximum tokens of the answer, as requested; 0 where a parser is not told.
    """

    text: str
    usage: Usage
    finish: str = "stop"
    seconds: float = 0.0
    probabilities: tuple[float, ...] = ()
    limit: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Refusal:
    """Why a model can never answer a request: a prompt that is too long, a refused option (4xx)."""

    reason: str


class CallFailed(Exception):  # noqa: N818 - concerns a call, not the user's input
    """A whole call failed and may succeed later (408, 409, 429, 5xx, reset, time-out, incomplete body).

    reason: one line, without keys and headers. retry_after: seconds that the server asks to wait, None if it does not.
    reached: False if nothing answered (refused connection, unknown host).
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, reached: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.reached = reason, retry_after, reached


class CallTimedOut(CallFailed):
    """The engine's time limit passed. The model may have finished the work and billed it."""


class ChatModel(Protocol):
    """A local or remote language model; the engine uses nothing else of it."""

    @property
    def name(self) -> str:
        """Name for tables and manifests, without address and key."""

    @property
    def identity(self) -> str:
        """Identifies the model among all others, in the store's keys and in manifests."""

    @property
    def batch_size(self) -> int:
        """Maximum number of requests per call; 1 for endpoints."""

    @property
    def concurrency(self) -> int:
        """Recommended number of concurrent calls; 1 for a local model."""

    @property
    def context_length(self) -> int | None:
        """Maximum number of tokens of a prompt and its answer; None if unknown."""

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Strings to remove from untrusted text: the tokenizer's added tokens, or the known chat markers."""

    def count_tokens(self, request: Request) -> int:
        """Return the tokens of the request's prompt: exact with the tokenizer, otherwise estimated."""

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer up to `batch_size` requests, in their order. Raises CallFailed if the whole call failed."""


T = TypeVar("T")


class BadReply(Exception):  # noqa: N818 - concerns a reply, not the user's input
    """An unusable reply; reason: one line."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Task(Generic[T]):
    """A request, its row, and the parser of its reply, which raises BadReply."""

    row: int
    request: Request
    parse: Callable[[Reply], T]


@dataclass(frozen=True)
class TaskAnswer(Generic[T]):
    """Result of a task: a value, or None with a reason; reply: the last one; calls: number of calls made in this run."""

    row: int
    value: T | None
    reason: str = ""
    reply: Reply | None = None
    calls: int = 0


BYTES_PER_TOKEN = 4
"""Accurate within about 15 % for English prose, roughly right for other scripts."""
TOKENS_PER_MESSAGE = 4
"""Tokens that chat formats add around a message."""


def estimate_prompt_tokens(request: Request) -> int:
    """Return the estimated tokens of a request's prompt."""
    return sum(estimate_tokens(message.content) + TOKENS_PER_MESSAGE for message in request.messages)


def estimate_tokens(text: str) -> int:
    """Return the estimated tokens of a text: a quarter of its bytes, rounded up."""
    return -(-len(text.encode("utf-8", "replace")) // BYTES_PER_TOKEN)


def embedding_request(text: str) -> Request:
    """Return the request for the embedding of a text."""
    return Request((Message("user", text),), max_tokens=0)


def embedded_text(request: Request) -> str:
    """Return the text of an embedding request, or the prompt of a request for log-probabilities of continuations."""
    return request.messages[-1].content


def continuation_request(prompt: str, continuations: Sequence[str]) -> Request:
    """Return the request for the log-probability of each text after the prompt, a plain text without a chat format.

    A continuation follows the prompt as it is, so it begins with a space where the prompt ends with a word.
    """
    return Request((Message("user", prompt),), max_tokens=0, continuations=tuple(continuations))


def pack_vector(vector: Floats) -> str:
    """Encode a vector's little-endian float32 bytes in base64. Raises ValueError if it is empty or not finite."""
    with np.errstate(over="ignore"):  # overflow is refused below
        numbers = np.asarray(vector, "<f4")
    if numbers.ndim != 1 or not numbers.size or not np.isfinite(numbers).all():
        raise ValueError("not a vector of finite numbers")
    return base64.b64encode(numbers.tobytes()).decode("ascii")


def unpack_vector(text: str) -> Floats:
    """Decode the vector of a reply. Raises ValueError if there is none."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if not data or len(data) % 4:
        raise ValueError(f"{len(data)} bytes, expected float32 numbers of 4 bytes")
    return np.frombuffer(data, "<f4")
