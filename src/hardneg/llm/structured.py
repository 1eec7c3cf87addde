"""Replies with a shape: the JSON schema that a back end enforces where it can, and the reading that never trusts it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardneg.errors import ConfigError
from hardneg.llm.protocol import Reply
from hardneg.llm.tasks import BadReply

M = TypeVar("M", bound=BaseModel)

DROPPED = ("title", "default", "minLength", "maxLength")
"""What schemas carry for people, and lengths: a pattern says those, which more back ends enforce."""
UNENFORCED = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]+")
SHOWN = 60
"""Characters of a reply that a message quotes."""


def safe_pattern(longest: int) -> str:
    """A pattern for 1 to `longest` characters that is safe within JSON.

    Some decoders hold the pattern against the raw JSON, so it allows no quote, no backslash and no control character.
    """
    return f'^[^"\\\\\\x00-\\x1f]{{1,{longest}}}$'


def _bounded(longest: int) -> Any:
    return Field(min_length=1, max_length=longest, json_schema_extra={"pattern": safe_pattern(longest)})


ShortText = Annotated[str, _bounded(200)]
"""A name or a title: 1 to 200 characters."""
SafeText = Annotated[str, _bounded(1200)]
"""A paragraph: 1 to 1,200 characters."""


class Structured(BaseModel):
    """Base of what a reply should be. Fields that nobody asked for are left out; integers are best a Literal."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def strict_schema(kind: type[BaseModel]) -> str:
    """JSON Schema of a pydantic model as canonical JSON text: no other keys are allowed and all keys are required.

    Raises ConfigError for what many back ends accept and do not enforce: bounds of numbers, and lengths of strings
    without a pattern.
    """
    return json.dumps(_strict(kind.model_json_schema(), kind.__name__), separators=(",", ":"))


def _strict(node: Any, where: str) -> Any:
    if isinstance(node, list):
        return [_strict(part, where) for part in node]
    if not isinstance(node, dict):
        return node
    _require_enforceable(node, where)
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


def _require_enforceable(node: dict[str, Any], where: str) -> None:
    bounds = [name for name in UNENFORCED if name in node]
    if bounds:
        raise ConfigError(f"{where} has {bounds[0]}, which back ends accept and ignore; list the numbers as a Literal")
    if "maxLength" in node and "pattern" not in node:
        raise ConfigError(f"{where} has a length and no pattern, which back ends ignore; use SafeText or pattern_of")


def reply_parser(kind: type[M]) -> Callable[[Reply], M]:
    """A parser of replies: finds the JSON object, also in prose or a code fence, and validates it.

    Of several objects the last that fits counts: models think aloud first. Control characters within strings become
    spaces. The parser raises BadReply with one line that says what is wrong; a reply that was cut at its token limit is
    named as such.
    """

    def parse(reply: Reply) -> M:
        said = ""
        for found in reversed(_candidates(reply.text.strip())):
            try:
                return kind.model_validate(_tidy(found))
            except ValidationError as error:
                said = said or _said(error, kind)
        raise BadReply(_why(reply, said))

    return parse


def _candidates(text: str) -> list[dict[str, Any]]:
    """The JSON object that a text is, else every one that stands in it."""
    whole = _loaded(text)
    return [whole] if isinstance(whole, dict) else _objects(text)


def _why(reply: Reply, said: str) -> str:
    """What is wrong with a reply; said: with the last object that stands in it, "" if none does."""
    if reply.finish == "length":
        return f"the reply was cut at its limit of {reply.usage.answer_tokens} tokens; allow longer answers"
    shown = " ".join(reply.text[:SHOWN].split())
    return said or (f"found {shown!r}, expected a JSON object" if shown else "the reply is blank")


def _loaded(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None


def _objects(text: str) -> list[dict[str, Any]]:
    """Every outermost JSON object that stands in a text."""
    decoder, found, place = json.JSONDecoder(strict=False), [], text.find("{")
    while place >= 0:
        try:
            value, end = decoder.raw_decode(text, place)
            found.append(value)
        except (ValueError, RecursionError):
            end = place + 1
        place = text.find("{", end)
    return found


def _tidy(value: Any) -> Any:
    """Replace control characters in every string by spaces, and strip it."""
    if isinstance(value, str):
        return _CONTROLS.sub(" ", value).strip()
    if isinstance(value, list):
        return [_tidy(part) for part in value]
    if isinstance(value, dict):
        return {key: _tidy(part) for key, part in value.items()}
    return value


def _said(error: ValidationError, kind: type[BaseModel]) -> str:
    first, *more = error.errors(include_url=False)
    where = ".".join(map(str, first["loc"])) or kind.__name__
    others = f" (and {len(more)} more)" if more else ""
    return f"field {where}: {first['msg'][0].lower()}{first['msg'][1:]}{others}"
