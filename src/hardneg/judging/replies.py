"""Replies of LLM judges: their schema, and how they are parsed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from hardneg.llm.protocol import Reply
from hardneg.llm.structured import Structured, reply_parser
from hardneg.llm.tasks import BadReply

LABELS = ("positive", "negative")
"""Choices of a model whose probabilities are read."""
SHOWN = 40
"""Maximum characters of an entry that a report quotes."""


class LooseVerdict(Structured):
    """Reply with unchecked entries, so that an invalid entry does not invalidate the others."""

    positive: list[object]


@dataclass(frozen=True)
class Verdict:
    """Numbers of the positive candidates, from 1. foreign: entries that are no such number, as text."""

    positive: tuple[int, ...]
    foreign: tuple[str, ...] = ()


@cache
def verdict_schema(n: int) -> str:
    """Return the JSON Schema of an answer about n candidates: one key, a list of numbers from 1 to n."""
    numbers = {"type": "array", "items": {"type": "integer", "enum": list(range(1, n + 1))}}
    answer = {"type": "object", "properties": {"positive": numbers}, "additionalProperties": False}
    return json.dumps(answer | {"required": ["positive"]}, separators=(",", ":"))


def verdict_parser(n: int) -> Callable[[Reply], Verdict]:
    """Return a parser of answers about n candidates.

    The parser raises BadReply where the answer is no such object, where it reached its token limit, since the list may
    be incomplete, and where no entry is the number of a candidate.
    """
    read = reply_parser(LooseVerdict)

    def parse(reply: Reply) -> Verdict:
        entries = read(reply).positive
        if reply.finish in ("length", "closed"):
            raise BadReply(f"the reply reached its limit of {reply.usage.answer_tokens} tokens")
        numbers = [_number(entry) for entry in entries]
        valid = [number for number in numbers if 1 <= number <= n]
        foreign = [str(entry)[:SHOWN] for entry, number in zip(entries, numbers, strict=True) if not 1 <= number <= n]
        if foreign and not valid:
            raise BadReply(f"found {foreign[0]!r}, expected numbers of candidates, 1 to {n}")
        return Verdict(tuple(sorted(set(valid))), tuple(foreign))

    return parse


def _number(entry: object) -> int:
    """Return the number that an entry is or spells, 0 for none."""
    if isinstance(entry, str) and entry.strip().isdecimal() and len(entry) <= SHOWN:
        return int(entry)
    return entry if isinstance(entry, int) and not isinstance(entry, bool) else 0


def probability_of_positive(reply: Reply) -> float:
    """Return the probability of the first of LABELS. Raises BadReply where the reply has no probabilities."""
    if len(reply.probabilities) != len(LABELS):
        raise BadReply("the reply has no probabilities of the labels; choose a model that returns them, or judge llm")
    return float(reply.probabilities[0])
