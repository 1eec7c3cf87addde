"""The official client of OpenAI-compatible servers: made safely, and what its failures mean to us."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from hardneg.errors import ConfigError
from hardneg.llm.protocol import CallFailed, LlmError, Refusal

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"
NO_KEY = "none"
LATER = (408, 409, 429)
"""Client errors that may pass."""
WRONG = {401: "check the key", 402: "check the account", 403: "check the key's rights", 404: "check address and model"}
"""Client errors that no row can be answered under, and what to do."""
SHOWN = 200
"""Characters of a server's message that we repeat."""


@dataclass(frozen=True)
class Address:
    """A server, and a model by the name that the server has for it.

    base: such as http://localhost:8000/v1, no credentials. key_variable: the environment variable that holds the key,
    "" where the server needs none.
    """

    base: str
    model: str
    key_variable: str = ""

    def __post_init__(self) -> None:
        parts = urlsplit(self.base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("found an address without host, expected one such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:  # not repeated: it may hold a key
            raise ConfigError(
                f"the address of {parts.hostname} holds credentials or a query; keys come from an environment variable"
            )
        if not self.model:
            raise ConfigError(f"found no model name for {parts.hostname}, expected one, as in http://host/v1#model")

    @property
    def identity(self) -> str:
        """Address and model."""
        return f"{self.base.rstrip('/')}#{self.model}"

    @property
    def name(self) -> str:
        """The model's name; of a folder's path its last part."""
        is_path = self.model.startswith(("/", ".", "~")) or "\\" in self.model
        return re.split(r"[/\\]", self.model.rstrip("/\\"))[-1] if is_path else self.model

    def require_key(self) -> None:
        """Raise ConfigError where the environment does not hold the key that is needed, or holds what is none."""
        if not self.key_variable:
            return
        if not _key(self.key_variable):
            raise ConfigError(f"{self.name} needs a key; put it into the environment variable {self.key_variable}")
        if not re.fullmatch(r"[!-~]+", _key(self.key_variable)):
            raise ConfigError(f"{self.key_variable} holds characters that no key has; set it again")


class Client:
    """The official async client, one for each event loop: connections cannot be carried from loop to loop.

    Keys are read from the environment when a client is made; this object keeps none.
    """

    def __init__(self, address: Address, *, seconds: float = 600.0) -> None:
        address.require_key()
        _require_openai()
        self.address, self._seconds = address, seconds
        self._made: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncOpenAI] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"Client({self.address.identity!r})"

    def official(self) -> AsyncOpenAI:
        """The client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._made:
            self._made[loop] = _client(self.address, self._seconds)
        return self._made[loop]

    async def aclose(self) -> None:
        """Close the running loop's connections."""
        made = self._made.pop(asyncio.get_running_loop(), None)
        if made is not None:
            await made.close()

    async def send(self, call: Callable[[AsyncOpenAI], Awaitable[Any]]) -> dict[str, Any] | Refusal:
        """The JSON object that the server answers to `call`, which asks for a raw response.

        Returns a Refusal where this very request is refused. Raises CallFailed for what may pass, LlmError for what
        concerns every request: a wrong key, an unknown model.
        """
        outcome = await self._outcome(call)
        if isinstance(outcome, Exception):  # raised here, where no frame holds the SDK's error with its headers
            raise outcome
        return outcome

    async def _outcome(
        self, call: Callable[[AsyncOpenAI], Awaitable[Any]]
    ) -> dict[str, Any] | Refusal | CallFailed | LlmError:
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            response = await call(self.official())
            return _payload(response.content, self.address)
        except APIStatusError as error:
            return _by_status(error, self.address)
        except APIConnectionError as error:
            return _broken(error)
        except UnicodeEncodeError:
            return Refusal("the prompt holds half a surrogate pair, which no server takes; clean it first")
        except OpenAIError as error:
            return CallFailed(_scrubbed(type(error).__name__, self.address))


def _require_openai() -> None:
    try:
        import openai  # noqa: F401
    except ImportError:
        raise ConfigError("endpoints need the package openai; run pip install 'hardneg[llm]'") from None


def _key(variable: str) -> str:
    return os.environ.get(variable, "").strip() if variable else ""


def _client(address: Address, seconds: float) -> AsyncOpenAI:
    """A client that retries nothing; what the SDK takes from the environment goes to OpenAI alone."""
    from openai import AsyncOpenAI

    made = AsyncOpenAI(
        base_url=address.base,
        api_key=_key(address.key_variable) or NO_KEY,
        timeout=seconds,
        max_retries=0,
        default_headers=None if address.base == OPENAI else _own_headers(address),
    )
    if address.base != OPENAI:
        made.organization = made.project = made.admin_api_key = None
    return made


def _own_headers(address: Address) -> Mapping[str, Any]:
    """No header of OPENAI_CUSTOM_HEADERS, and this host's own key; without one the word that local servers expect."""
    from openai import Omit

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    headers: dict[str, Any] = {line.partition(":")[0].strip(): Omit() for line in lines if ":" in line}
    headers["Authorization"] = f"Bearer {_key(address.key_variable) or NO_KEY}"
    return headers


def _payload(content: bytes, address: Address) -> dict[str, Any] | CallFailed:
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return CallFailed(f"the reply is no JSON ({len(content)} bytes)")
    if not isinstance(payload, dict):
        return CallFailed(f"the reply is a JSON {type(payload).__name__}, expected an object")
    if payload.get("error"):  # some servers say so under status 200
        return CallFailed(_scrubbed(f"an error in the reply: {payload['error']}", address))
    return payload


def _by_status(error: APIStatusError, address: Address) -> Refusal | CallFailed | LlmError:
    """What an HTTP error means."""
    status = error.status_code
    said = _scrubbed(f"{status} {_message(error)}", address)
    if error.code == "insufficient_quota":  # a 429 that never passes
        return LlmError(f"{address.name} answers {said}; check the account")
    if status in LATER or status >= 500:
        return CallFailed(said, retry_after=retry_after(error.response.headers))
    if status in WRONG:
        return LlmError(f"{address.name} answers {said}; {WRONG[status]}")
    return Refusal(said)


def _message(error: APIStatusError) -> str:
    """What the server says; its whole body where that has not the usual form."""
    message = error.body.get("message") if isinstance(error.body, dict) else None
    return message if isinstance(message, str) else error.response.text


def _broken(error: APIConnectionError) -> CallFailed:
    """A connection that was refused, reset, cut or too slow."""
    cause = type(error.__cause__).__name__
    return CallFailed(f"the connection failed ({cause})", reached=cause not in ("ConnectError", "ConnectTimeout"))


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait, from Retry-After (seconds or a date); None where it does not say."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        seconds = _until(value, now or datetime.now(UTC))
    return max(seconds, 0.0) if math.isfinite(seconds) else None


def _until(date: str, now: datetime) -> float:
    try:
        then = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    return (then if then.tzinfo else then.replace(tzinfo=UTC)).timestamp() - now.timestamp()


def _scrubbed(said: str, address: Address) -> str:
    """A server's words on one line, without the key, should it repeat it."""
    if address.key_variable and _key(address.key_variable):
        said = said.replace(_key(address.key_variable), "***")
    return " ".join(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", said).split())[:SHOWN]
