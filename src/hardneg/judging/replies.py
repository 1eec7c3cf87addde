"""What a judging model is asked to answer, and how it is read: the numbers of the candidates that it calls positive."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from hardneg.llm.protocol import Reply
from hardneg.llm.structured import Structured, reply_parser
from hardneg.llm.tasks import BadReply

LABELS = ("positive", "negative")
"""What a model is asked for where its probabilities are read."""
SHOWN = 40
"""Characters of an entry that a ledger quotes."""


class LooseVerdict(Structured):
    """A list whose entries are not looked at yet: a bad one costs itself, not the others."""

    positive: list[object]


@dataclass(frozen=True)
class Verdict:
    """Of n candidates, numbered from 1: which are positive. foreign: entries that are no such number, as they stand."""

    positive: tuple[int, ...]
    foreign: tuple[str, ...] = ()


@cache
def verdict_schema(n: int) -> str:
    """JSON Schema of an answer about n candidates: one key, a list of numbers from 1 to n."""
    numbers = {"type": "array", "items": {"type": "integer", "enum": list(range(1, n + 1))}}
    whole = {"type": "object", "properties": {"positive": numbers}, "additionalProperties": False}
    return json.dumps(whole | {"required": ["positive"]}, separators=(",", ":"))


def verdict_parser(n: int) -> Callable[[Reply], Verdict]:
    """Reads an answer about n candidates.

    The parser raises BadReply for what is no such object, for an answer that was cut or closed at its limit, whose list
    may lack its end, and where every entry is foreign: then the model answered something else.
    """
    read = reply_parser(LooseVerdict)

    def parse(reply: Reply) -> Verdict:
        entries = read(reply).positive
        if reply.finish in ("length", "closed"):
            raise BadReply(f"the reply was ended at its limit of {reply.usage.answer_tokens} tokens")
        numbers = [_number(entry) for entry in entries]
        known = [number for number in numbers if 1 <= number <= n]
        foreign = [str(entry)[:SHOWN] for entry, at in zip(entries, numbers, strict=True) if not 1 <= at <= n]
        if foreign and not known:
            raise BadReply(f"found {foreign[0]!r}, expected numbers of candidates, 1 to {n}")
        return Verdict(tuple(sorted(set(known))), tuple(foreign))

    return parse


def _number(entry: object) -> int:
    """The number that an entry is or spells, 0 for none."""
    if isinstance(entry, str) and entry.strip().isdecimal() and len(entry) <= SHOWN:
        return int(entry)
    return entry if isinstance(entry, int) and not isinstance(entry, bool) else 0


def probability_of_positive(reply: Reply) -> float:
    """The probability of the first of LABELS. Raises BadReply where the model gave none."""
    if len(reply.probabilities) != len(LABELS):
        raise BadReply("the reply has no probabilities of the labels; choose a model that gives them, or judge llm")
    return float(reply.probabilities[0])
