"""What an endpoint really does, as against what it accepts: some answer 200 and ignore what they were asked."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from hardneg.llm.protocol import CallFailed, LlmError, Refusal

Body = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[Body | Refusal]]

WORD = "zyzzyva"
"""What nobody answers to a greeting, unless a schema permits nothing else."""
TOPS = (20, 5)
"""Likeliest tokens asked for: as many as OpenAI gives, then as many as every server gives."""
TRIES = 5
LONGEST_WAIT = 5.0


@dataclass(frozen=True)
class Capabilities:
    """What was seen of an endpoint.

    schema: it holds answers to a JSON schema. top_logprobs: how many likeliest tokens it tells, 0 for none. n: it gives
    several answers to one request. usage: it counts tokens. temperature: it takes one. limit: what it calls the most
    tokens of an answer. notes: what it said where it refused something.
    """

    schema: bool = False
    top_logprobs: int = 0
    n: bool = False
    usage: bool = False
    temperature: bool = True
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    notes: tuple[str, ...] = ()

    def describe(self) -> str:
        """One line an ability, for people."""
        tops = f"yes, the {self.top_logprobs} likeliest" if self.top_logprobs else "no"
        lines = [
            f"schema enforced: {_yes(self.schema)}",
            f"log-probabilities: {tops}",
            f"several answers a request: {_yes(self.n)}",
            f"usage reported: {'yes' if self.usage else 'no, tokens are estimated'}",
            f"temperature: {'yes' if self.temperature else 'no, it keeps its own'}",
            f"limit of answers: {self.limit}",
        ]
        return "\n".join([*lines, *(f"said: {note}" for note in self.notes)])


async def probe(send: Send, *, seconds_of_patience: float = 1.0) -> Capabilities:
    """Find out by five to eight small requests, sent one after the other.

    send: sends a body without the model's name; as Client.send it returns a Refusal for a refused request. A call that
    fails is sent again, up to five times; seconds_of_patience: the first wait. Raises CallFailed where even the plain
    request does not come through, LlmError where it is refused.
    """
    notes: list[str] = []

    async def asked(body: Body) -> Body | None:
        """The answer, or None with a note."""
        try:
            answer = await _persistent(send, body, seconds_of_patience)
        except CallFailed as failed:
            answer = Refusal(failed.reason)
        if isinstance(answer, Refusal):
            notes.append(answer.reason)
            return None
        return answer

    plain, temperature, limit = await _plain(send, seconds_of_patience)
    small = {"messages": [{"role": "user", "content": "Reply with one short greeting."}], limit: 64}
    schema = _obeys(await asked({**small, "response_format": response_format(_SCHEMA)}))
    n = len(_choices(await asked({**small, "n": 2}))) == 2
    tops = 0
    for top in TOPS:
        answer = await asked({**small, "logprobs": True, "top_logprobs": top})
        if answer is not None:
            tops = min(len(top_logprobs(answer)), top)
            break
    usage = isinstance(plain.get("usage"), dict) and bool(plain["usage"].get("prompt_tokens"))
    return Capabilities(schema, tops, n, usage, temperature, limit, tuple(notes))


def response_format(schema: str) -> Body:
    """The option that asks for answers of a schema."""
    return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": json.loads(schema)}}


def top_logprobs(answer: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(token, log-probability) of the likeliest first tokens; [] where the answer holds none."""
    try:
        first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        return [(str(entry["token"]), float(entry["logprob"])) for entry in first]
    except (KeyError, IndexError, TypeError, ValueError):
        return []


_SCHEMA = json.dumps(
    {
        "type": "object",
        "properties": {"word": {"type": "string", "enum": [WORD]}},
        "required": ["word"],
        "additionalProperties": False,
    }
)


def _yes(able: bool) -> str:
    return "yes" if able else "no"


async def _plain(send: Send, patience: float) -> tuple[Body, bool, Literal["max_tokens", "max_completion_tokens"]]:
    """The answer to a plain request, whether a temperature may be named, and the name of the limit."""
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    temperature = True
    said = ""
    for _ in range(3):
        body: Body = {"messages": [{"role": "user", "content": "Reply with one short greeting."}], limit: 64}
        answer = await _persistent(send, body | ({"temperature": 0} if temperature else {}), patience)
        if not isinstance(answer, Refusal):
            return answer, temperature, limit
        said = answer.reason
        if "max_completion_tokens" in said and limit == "max_tokens":
            limit = "max_completion_tokens"
        elif "temperature" in said and temperature:
            temperature = False
        else:
            break
    raise LlmError(f"the endpoint refuses a plain request ({said}); check the model's name")


async def _persistent(send: Send, body: Body, patience: float) -> Body | Refusal:
    for attempt in range(TRIES - 1):
        try:
            return await send(body)
        except CallFailed as failed:
            wait = patience * 2**attempt if failed.retry_after is None else failed.retry_after
            await asyncio.sleep(min(wait, LONGEST_WAIT))
    return await send(body)


def _choices(answer: Body | None) -> list[Any]:
    choices = (answer or {}).get("choices")
    return choices if isinstance(choices, list) else []


def _obeys(answer: Body | None) -> bool:
    try:
        return bool(json.loads(_choices(answer)[0]["message"]["content"]) == {"word": WORD})
    except (IndexError, KeyError, TypeError, ValueError):
        return False
