"""Probing of an endpoint: some servers accept an option with status 200 and ignore it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hardneg.llm.protocol import CallFailed, LlmError, Refusal

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
