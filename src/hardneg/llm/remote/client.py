"""The official OpenAI client for any compatible server: keys stay private, and failures are classified."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from hardneg.errors import ConfigError
from hardneg.llm.protocol import CallFailed, LlmError, Refusal
from hardneg.llm.redaction import one_line, redact_values, secrets

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
TRANSIENT = (408, 409, 429)
"""Client errors that may succeed on a retry."""
FATAL = {401: "check the key", 402: "check the account", 403: "check the key's rights", 404: "check address and model"}
"""Client errors that concern every request, and what to do."""
MAX_MESSAGE = 200
"""Characters of a server's message that are quoted."""
Method = Callable[["AsyncOpenAI"], Callable[..., Any]]


@dataclass(frozen=True)
class Address:
    """A server and the name of a model on it.

    base: URL such as http://localhost:8000/v1, without credentials. key_variable: environment variable with the API key,
    "" if the server needs none.
    """

    base: str
    model: str
    key_variable: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("found an address without a host, expected one such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:  # not quoted: it may hold a key
            raise ConfigError(
                f"the address of {parts.hostname} holds credentials or a query; keys come from an environment variable"
            )
        if self.key_variable and not re.fullmatch(r"[A-Za-z_]\w*", self.key_variable, re.ASCII):  # it may be a key
            raise ConfigError(
                "found a key variable that no environment variable can be called, expected the name of one; "
                "put the key into a variable, and give its name"
            )
        if not self.model:
            raise ConfigError(f"found no model name for {parts.hostname}, expected one, as in http://host/v1#model")

    @property
    def identity(self) -> str:
        """URL and model name."""
        return f"{self.base.rstrip('/')}#{self.model}"

    @property
    def name(self) -> str:
        """Name of the model; the last part of a path."""
        is_path = self.model.startswith(("/", ".", "~")) or "\\" in self.model
        return re.split(r"[/\\]", self.model.rstrip("/\\"))[-1] if is_path else self.model

    def require_key(self) -> None:
        """Raise ConfigError if the environment lacks the key or holds an invalid one."""
        if not self.key_variable:
            return
        if not _key(self.key_variable):
            raise ConfigError(f"{self.name} needs an API key; set the environment variable {self.key_variable}")
        if not re.fullmatch(r"[!-~]+", _key(self.key_variable)):
            raise ConfigError(f"{self.key_variable} holds characters that no API key has; set it again")


class Client:
    """The official async client, one per event loop, since connections belong to a loop.

    Keys are read from the environment when a client is created; this object stores none. needs_key: False where nothing
    will be sent, so that a missing key is no error.
    """

    def __init__(self, address: Address, *, seconds: float = 600.0, needs_key: bool = True) -> None:
        if needs_key:
            address.require_key()
        try:
            import openai  # noqa: F401
        except ImportError:
            raise ConfigError("endpoints need the package openai; run pip install 'hardneg[llm]'") from None
        self.address, self._seconds = address, seconds
        self.name, self.identity, self.key_variable = address.name, address.identity, address.key_variable
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    def official(self) -> AsyncOpenAI:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._clients:
            self.address.require_key()
            self._clients[loop] = _create_client(self.address, self._seconds)
        return self._clients[loop]

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        if (client := self._clients.pop(asyncio.get_running_loop(), None)) is not None:
            await client.close()

    async def send(self, method: Method, body: Mapping[str, Any]) -> dict[str, Any] | Refusal:
        """Return the JSON object that the server answers. method: the client's method for a raw response.

        Returns a Refusal if the server rejects this particular request. Raises CallFailed for failures that may pass,
        LlmError for those that concern every request, such as a wrong key or an unknown model.
        """
        outcome = await self._outcome(method, body)
        if isinstance(outcome, Exception):  # raised here, where no frame holds the SDK's error and its headers
            raise outcome
        return outcome

    async def _outcome(
        self, method: Method, body: Mapping[str, Any]
    ) -> dict[str, Any] | Refusal | CallFailed | LlmError:
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            response = await method(self.official())(model=self.address.model, **body)
            return _parse(response.content, self.address)
        except APIStatusError as error:
            return _classify(error, self.address)
        except APIConnectionError as error:
            cause = type(error.__cause__).__name__  # refused, reset, cut off or too slow
            reached = cause not in ("ConnectError", "ConnectTimeout")
            return CallFailed(f"the connection failed ({cause})", reached=reached)
        except UnicodeEncodeError:
            return Refusal("the prompt holds half a surrogate pair, which no server accepts; clean it first")
        except OpenAIError as error:
            return CallFailed(_one_line(type(error).__name__, self.address))


def _key(variable: str) -> str:
    return os.environ.get(variable, "").strip() if variable else ""


def _create_client(address: Address, seconds: float) -> AsyncOpenAI:
    """Create a client without retries; settings that the SDK reads from the environment are sent to OpenAI only."""
    from openai import AsyncOpenAI, Omit

    key = _key(address.key_variable) or NO_KEY  # local servers expect a placeholder
    options: dict[str, Any] = {"base_url": address.base, "api_key": key, "timeout": seconds, "max_retries": 0}
    if address.base == OPENAI:
        return AsyncOpenAI(**options)
    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    headers: dict[str, Any] = {line.partition(":")[0].strip(): Omit() for line in lines if ":" in line}
    client = AsyncOpenAI(**options, default_headers=headers | {"Authorization": f"Bearer {key}"})
    client.organization = client.project = client.admin_api_key = None
    return client


def _parse(content: bytes, address: Address) -> dict[str, Any] | CallFailed:
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return CallFailed(f"the reply is not JSON ({len(content)} bytes)")
    if not isinstance(payload, dict):
        return CallFailed(f"the reply is a JSON {type(payload).__name__}, expected an object")
    if payload.get("error"):  # some servers report errors under status 200
        return CallFailed(_one_line(f"an error in the reply: {payload['error']}", address))
    values: dict[str, Any] = redact_values(payload, secrets(named=address.key_variable))
    return values


def _classify(error: APIStatusError, address: Address) -> Refusal | CallFailed | LlmError:
    status = error.status_code
    message = error.body.get("message") if isinstance(error.body, dict) else None
    message = message if isinstance(message, str) else error.response.text
    answer = _one_line(f"{status} {message}", address)
    if error.code == "insufficient_quota":  # a 429 that does not pass
        return LlmError(f"{address.name} answers {answer}; check the account")
    if status in TRANSIENT or status >= 500:
        return CallFailed(answer, retry_after=retry_after(error.response.headers))
    if status in FATAL:
        return LlmError(f"{address.name} answers {answer}; {FATAL[status]}")
    return Refusal(answer)


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds of a Retry-After header (seconds or a date); None if there is none."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            date = parsedate_to_datetime(value)
        except ValueError:
            return None
        date = date if date.tzinfo else date.replace(tzinfo=UTC)
        seconds = (date - (now or datetime.now(UTC))).total_seconds()
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _one_line(message: str, address: Address) -> str:
    """Return a server's message on one line, without keys in case it quotes one."""
    return one_line(message, secrets(named=address.key_variable), max_length=MAX_MESSAGE)
