"""What is asked of a language model and what comes back; everything else wraps `complete`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Protocol

from hardneg.errors import HardnegError

Role = Literal["system", "user", "assistant"]


class LlmError(HardnegError, RuntimeError):
    """A language model, its endpoint or its store cannot do what is needed."""


@dataclass(frozen=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True)
class Request:
    """All that determines a reply, but for the model.

    max_tokens: of the answer. temperature: 0 for the likeliest answer. schema: JSON Schema (as JSON text) that the
    answer must satisfy, "" for free text. choices: labels whose probabilities are wanted in place of an answer.
    catalogue: the name of a closed list of answers that the model was given beforehand, "" for none. without: answers
    of that list that are not allowed here. draw: 0, 1, ... tells apart draws of one request; a re-asked request keeps
    its draw.
    """

    messages: tuple[Message, ...]
    max_tokens: int
    temperature: float = 0.0
    schema: str = ""
    choices: tuple[str, ...] = ()
    closed_list: str = ""
    excluded: tuple[str, ...] = ()
    draw: int = 0

    def digest(self, model: str) -> str:
        """Hex SHA-256 of the request and the model's identity, the draw left out: the store's key beside the draw."""
        return hashlib.sha256(f"{model}\n{self.canonical}".encode("utf-8", "surrogatepass")).hexdigest()

    @cached_property
    def canonical(self) -> str:
        """The request as JSON with sorted keys, the draw left out."""
        values = {
            "messages": [(message.role, message.content) for message in self.messages],
            "max_tokens": self.max_tokens,
            "temperature": self.temperature,
            "schema": self.schema,
            "choices": self.choices,
            "catalogue": self.closed_list,
            "without": self.excluded,
        }
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, as the back end counted them; estimated: counted by us, because it did not say."""

    prompt_tokens: int
    answer_tokens: int
    cached_tokens: int = 0
    """Prompt tokens that the back end had in its prefix cache (billed lower by some)."""
    estimated: bool = False


@dataclass(frozen=True)
class Reply:
    """What came back, raw.

    text: the words; for an embedding its float32 bytes in base64. finish: "stop", "length", or what the back end
    said. seconds: from sending to the last byte. probabilities: of the request's choices, in their order, summing to
    one; () where none were asked for.
    """

    text: str
    usage: Usage
    finish: str = "stop"
    seconds: float = 0.0
    probabilities: tuple[float, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """Why one request cannot be answered by this model, ever: too long a prompt, a refused option (4xx)."""

    reason: str


class CallFailed(Exception):  # noqa: N818 - it happened to a call; it is no error of the user
    """The whole call failed and may succeed later (429, 408, 409, 5xx, reset, time-out, half a body).

    reason: one line, without any key or header. retry_after: seconds that the server asked for, None where it did not.
    reached: False where nothing answered at all (refused connection, unknown host).
    """

    def __init__(self, reason: str, *, retry_after: float | None = None, reached: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.retry_after, self.reached = reason, retry_after, reached


class CallTimedOut(CallFailed):
    """The engine's time limit passed. The model may have finished the work and billed it."""


class ChatModel(Protocol):
    """A language model, near or far; the engine calls nothing but this."""

    @property
    def name(self) -> str:
        """What to call it in tables and manifests: no address, no key."""
        ...

    @property
    def identity(self) -> str:
        """What tells it from every other model: goes into the store's keys and into manifests."""
        ...

    @property
    def batch_size(self) -> int:
        """Requests a call; 1 for endpoints."""
        ...

    @property
    def concurrency(self) -> int:
        """Calls at a time that make sense; 1 for a model in this process."""
        ...

    def count_tokens(self, request: Request) -> int:
        """Tokens of the request's prompt, exact where the tokenizer is here, else estimated."""
        ...

    @property
    def context_length(self) -> int | None:
        """Tokens that a prompt and its answer may have together; None where that is not known here."""
        ...

    @property
    def chat_markers(self) -> tuple[str, ...]:
        """Strings that untrusted text must not hold: every added token of the tokenizer, or the known chat markers."""
        ...

    async def complete(self, requests: Sequence[Request]) -> list[Reply | Refusal]:
        """Answer up to `batch_size` requests, in their order. Raises CallFailed where the call as a whole failed."""
        ...
