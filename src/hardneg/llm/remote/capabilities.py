"""Capabilities of an endpoint, found by a few small requests and corrected by what it refuses later."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from hardneg.llm.protocol import (
    CallFailed,
    LlmError,
    Message,
    Refusal,
    Request,
    Usage,
    estimate_prompt_tokens,
    estimate_tokens,
)
from hardneg.llm.remote.answers import first_choice, top_logprobs
from hardneg.llm.remote.token_counts import read_usage

Body = dict[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[Body | Refusal]]
TokenLimit = Literal["max_tokens", "max_completion_tokens"]

WORD = "zyzzyva"
"""A word that answers no greeting unless a schema permits nothing else."""
_WORD_IN_REPLY = re.compile(rf'"word"\s*:\s*"{WORD}"')
EMPTY_SCHEMA = '{"type":"object","properties":{},"required":[],"additionalProperties":false}'
PROBE = Request((Message("user", "Reply with one short greeting."),), max_tokens=256)
GREETING = [{"role": message.role, "content": message.content} for message in PROBE.messages]
TOP_LOGPROBS = (20, 5)
"""Numbers of likely tokens to request: the maximum of OpenAI, then one that every server accepts."""
TRIES = 3
LONGEST_WAIT = 5.0

_NAMES_SCHEMA = re.compile(
    r"response.?format|schema|grammar|guided|structured|outlines|\bregex|\bpattern|additionalproperties|\$defs|\$ref"
)
_CONCERNS_ONE_PROMPT = re.compile(r"context|too (large|long|many)|exceed|input tokens|prompt tokens")
_UNKNOWN = re.compile(
    r"unsupported|not supported|unrecogni|unknown|unexpected|extra|not (permitted|allowed)|deprecated"
)


@dataclass(frozen=True)
class Capabilities:
    """Observed behaviour of an endpoint.

    schema: answers follow a JSON schema. patterns: a schema may hold patterns of strings. top_logprobs: number of most
    likely tokens that it returns, 0 for none. usage: it reports plausible token counts. temperature: it accepts one.
    limit: its name for the maximum number of answer tokens. system: it accepts a system message. notes: its messages
    where it refused something. usage_problem: why its token counts are not used.
    """

    schema: bool = False
    top_logprobs: int = 0
    usage: bool = False
    temperature: bool = True
    limit: TokenLimit = "max_tokens"
    notes: tuple[str, ...] = ()
    patterns: bool = True
    system: bool = True
    usage_problem: str = field(default="", compare=False)

    def describe(self) -> str:
        """Return one line per capability, for people."""
        schema = "no" if not self.schema else "yes" if self.patterns else "yes, without patterns of strings"
        usage = (
            "yes" if self.usage else "no, tokens are estimated" + f" ({self.usage_problem})" * bool(self.usage_problem)
        )
        lines = [
            f"schema enforced: {schema}",
            f"log-probabilities: {f'of the {self.top_logprobs} most likely tokens' if self.top_logprobs else 'no'}",
            f"usage reported: {usage}",
            f"temperature: {'yes' if self.temperature else 'fixed by the server'}",
            f"name of the answer limit: {self.limit}",
        ]
        return "\n".join([*lines, *(f"refused: {note}" for note in self.notes)])


def without_refused(known: Capabilities, reason: str, body: Mapping[str, Any]) -> Capabilities | None:
    """Return the capabilities without the option that a refusal of this body names; None where it names none of them."""
    text = reason.casefold()
    if "response_format" in body and _NAMES_SCHEMA.search(text):
        return without_schema(known, body)
    if _CONCERNS_ONE_PROMPT.search(text):
        return None
    if "temperature" in body and "temperature" in text:
        return replace(known, temperature=False)
    if known.limit == "max_tokens" and "max_completion_tokens" in text:
        return replace(known, limit="max_completion_tokens")
    if known.limit in body and known.limit in text and _UNKNOWN.search(text):
        return replace(known, limit="max_tokens" if known.limit == "max_completion_tokens" else "max_completion_tokens")
    refuses_system = known.system and "system" in text and body["messages"][0]["role"] == "system"
    return replace(known, system=False) if refuses_system else None


def without_schema(known: Capabilities, body: Mapping[str, Any]) -> Capabilities:
    """Return the capabilities without patterns, or without schemas where the body's schema has no pattern."""
    has_patterns = '"pattern"' in json.dumps(body["response_format"])
    return replace(known, patterns=False) if known.patterns and has_patterns else replace(known, schema=False)


def names_schema(reason: str) -> bool:
    """Return True for the reason of a failure that the schema caused."""
    return bool(_NAMES_SCHEMA.search(reason.casefold()))


def concerns_one_prompt(reason: str) -> bool:
    """Return True for a refusal that other prompts need not meet, such as of one that is too long."""
    return bool(_CONCERNS_ONE_PROMPT.search(reason.casefold()))


async def probe(send: Send, schemas: Sequence[str] = (), *, seconds_of_patience: float = 1.0) -> Capabilities:
    """Test an endpoint by small requests, sent one after the other: three, and a few more where it refuses something.

    send: sends a body without the model's name; like `Client.send` it returns a Refusal for a refused request. schemas:
    of the replies that will be requested. A failed call is sent up to three times; seconds_of_patience: the first wait.
    Raises CallFailed if even the plain request fails, LlmError if it is refused.
    """
    notes: list[str] = []
    plain, known = await _probe_plain(send, seconds_of_patience)

    async def try_option(**option: Any) -> Body:
        """Return the answer to a request with an option; {} with a note if it fails."""
        body = {
            "messages": GREETING,
            known.limit: PROBE.max_tokens,
            **({"temperature": 0} if known.temperature else {}),
        }
        try:
            answer = await _send_patiently(send, body | option, seconds_of_patience)
        except CallFailed as failure:
            answer = Refusal(failure.reason)
        if not isinstance(answer, Refusal):
            return answer
        notes.append(answer.reason)
        return {}

    schema, patterns = True, True
    for wanted in map(_with_word, schemas or (EMPTY_SCHEMA,)):
        answer = await try_option(response_format=response_format(wanted, patterns=patterns)) if schema else {}
        if schema and not answer and patterns and '"pattern"' in wanted:
            patterns, answer = False, await try_option(response_format=response_format(wanted, patterns=False))
        schema = schema and _follows_schema(answer)
    tops = 0
    for top in TOP_LOGPROBS:
        if answer := await try_option(logprobs=True, top_logprobs=top):
            tops = min(len(top_logprobs(answer)), top)
            break
    usage = _usage(plain)
    return replace(
        known,
        schema=schema,
        patterns=patterns or not schema,
        top_logprobs=tops,
        usage=not usage.estimated,
        usage_problem=usage.reason,
        notes=tuple(notes),
    )


def _usage(plain: Body) -> Usage:
    """Return the usage of the answer to the plain request."""
    try:
        text = first_choice(plain, as_json=False)[0]
    except CallFailed:
        text = ""
    return read_usage(plain, Usage(estimate_prompt_tokens(PROBE), estimate_tokens(text)), PROBE.max_tokens)


@lru_cache(maxsize=64)
def response_format(schema: str, *, patterns: bool = True) -> Body:
    """Return the option that requests answers of a JSON schema. patterns: False to leave patterns of strings out."""
    node = json.loads(schema)
    node = node if patterns else _without_patterns(node)
    return {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": node}}


def _without_patterns(node: Any) -> Any:
    if isinstance(node, list):
        return [_without_patterns(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _without_patterns(part)
        for name, part in node.items()
        if name != "pattern" or not isinstance(part, str)  # a property may have this name
    }


def _with_word(schema: str) -> str:
    """Return a schema whose answers begin with the word, for a probe."""
    node = json.loads(schema)
    node["properties"] = {"word": {"type": "string", "enum": [WORD]}, **node["properties"]}
    return json.dumps(node | {"required": list(node["properties"])})


async def _probe_plain(send: Send, patience: float) -> tuple[Body, Capabilities]:
    """Return the answer to a plain request, and whether a temperature is accepted and the name of the answer limit."""
    known = Capabilities()
    while True:
        options = {"temperature": 0} if known.temperature else {}
        body = {"messages": GREETING, known.limit: PROBE.max_tokens, **options}
        answer = await _send_patiently(send, body, patience)
        if not isinstance(answer, Refusal):
            return answer, known
        corrected = without_refused(known, answer.reason, body)
        if corrected is None or (corrected.limit, known.limit) == ("max_tokens", "max_completion_tokens"):
            raise LlmError(f"the endpoint refuses a plain request ({answer.reason}); check the model's name")
        known = corrected


async def _send_patiently(send: Send, body: Body, patience: float) -> Body | Refusal:
    for attempt in range(TRIES - 1):
        try:
            return await send(body)
        except CallFailed as failure:
            if not failure.reached:
                raise
            wait = patience * 2**attempt if failure.retry_after is None else failure.retry_after
            await asyncio.sleep(min(wait, LONGEST_WAIT))
    return await send(body)


def _follows_schema(answer: Body) -> bool:
    """Return True where the answer holds the word; it may be cut, and thoughts may precede it."""
    try:
        return bool(_WORD_IN_REPLY.search(first_choice(answer, as_json=True)[0]))
    except CallFailed:
        return False
