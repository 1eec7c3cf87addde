"""Structured replies: a JSON schema for back ends that enforce one, and a parser that validates every reply."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Reply

M = TypeVar("M", bound=BaseModel)

DROPPED = ("title", "default", "minLength", "maxLength")
"""Keys omitted from schemas: descriptive ones, and lengths, for which a pattern is more widely enforced."""
UNENFORCED = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]+")
MAX_QUOTE = 60
"""Characters of a reply that a message quotes."""


def safe_pattern(max_length: int) -> str:
    """Return a pattern for 1 to `max_length` characters that is safe within JSON.

    Some decoders match the pattern against raw JSON, so it excludes quotes, backslashes and control characters.
    """
    return f'^[^"\\\\\\x00-\\x1f]{{1,{max_length}}}$'


class Structured(BaseModel):
    """Base class of reply formats. Unknown fields are dropped; use a Literal for integers."""

    model_config = ConfigDict(frozen=True, extra="ignore")


@cache
def strict_schema(kind: type[BaseModel]) -> str:
    """Return the JSON schema of a pydantic model as canonical JSON: all keys required, no others allowed.

    Raises ConfigError for keywords that many back ends accept without enforcing them: bounds of numbers, and lengths
    of strings without a pattern.
    """
    return json.dumps(_strict(kind.model_json_schema(), kind.__name__), separators=(",", ":"))


def _strict(node: Any, where: str) -> Any:
    if isinstance(node, list):
        return [_strict(part, where) for part in node]
    if not isinstance(node, dict):
        return node
    if bounds := [name for name in UNENFORCED if name in node]:
        raise ConfigError(f"{where} has {bounds[0]}, which back ends accept and ignore; list the numbers as a Literal")
    if "maxLength" in node and "pattern" not in node:
        raise ConfigError(f"{where} has a length without a pattern, which back ends ignore; use safe_pattern")
    strict = {
        key: {name: _strict(part, f"{where}.{name}") for name, part in value.items()}
        if key in ("properties", "$defs")
        else _strict(value, where)
        for key, value in node.items()
        if key not in DROPPED
    }
    if node.get("type") == "object":
        strict |= {"additionalProperties": False, "required": list(node.get("properties", {}))}
    return strict


def reply_parser(kind: type[M]) -> Callable[[Reply], M]:
    """Return a parser that extracts the JSON object of a reply, also from prose or a code fence, and validates it.

    The last valid object after the model's thoughts (<think>...</think>) counts, since it may draft answers. Control characters within strings become
    spaces. The parser raises BadReply with one line on the problem; a reply cut at its token limit is reported as such.
    """

    def parse(reply: Reply) -> M:
        problem = ""
        for candidate in reversed(_json_objects(_after_thoughts(reply.text))):
            try:
                return kind.model_validate(_clean_strings(candidate))
            except ValidationError as error:
                problem = problem or _describe(error, kind)
        if reply.finish == "length":
            raise BadReply(
                f"the reply was cut at its limit of {reply.limit or reply.usage.answer_tokens} tokens; allow longer answers"
            )
        quote = " ".join(reply.text[:MAX_QUOTE].split())
        raise BadReply(problem or (f"found {quote!r}, expected a JSON object" if quote else "the reply is blank"))

    return parse


def _after_thoughts(text: str) -> str:
    """Return the text after the model's thoughts, "" where they do not end."""
    _, end, answer = text.rpartition("</think>")
    return "" if not end and text.lstrip().startswith("<think>") else answer


def _json_objects(text: str) -> list[dict[str, Any]]:
    """Return every outermost JSON object within a text."""
    decoder, objects, start = json.JSONDecoder(strict=False), [], text.find("{")
    while start >= 0:
        try:
            value, end = decoder.raw_decode(text, start)
            objects.append(value)
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)
    return objects


def _clean_strings(value: Any) -> Any:
    """Replace control characters in every string by spaces, and strip it."""
    if isinstance(value, str):
        return _CONTROLS.sub(" ", value).strip()
    if isinstance(value, list):
        return [_clean_strings(part) for part in value]
    if isinstance(value, dict):
        return {key: _clean_strings(part) for key, part in value.items()}
    return value


def _describe(error: ValidationError, kind: type[BaseModel]) -> str:
    first, *more = error.errors(include_url=False)
    where = ".".join(map(str, first["loc"])) or kind.__name__
    others = f" (and {len(more)} more)" if more else ""
    return f"field {where}: {first['msg'][0].lower()}{first['msg'][1:]}{others}"
