"""What a language model is asked to answer: the shape of its replies, and how they are read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from hardneg.llm.protocol import Reply
from hardneg.llm.structured import Structured, reply_parser, safe_pattern, strict_schema
from hardneg.llm.tasks import BadReply
from hardneg.llm.untrusted import clean

MAX_PAIRS = 20
"""Pairs that one call may be asked about."""
MAX_CHARACTERS = 2_000
"""Characters of an answer; longer ones are no answer to what was asked."""
WORD_TOLERANCE = 2
"""Models count words badly: up to this many times the words asked for are accepted."""
NONE_FOUND = "the model found none"


def _line(longest: int) -> Any:
    """A string whose length the schema bounds, for decoders that would not end it; what is read may be longer."""
    return Field(json_schema_extra={"pattern": safe_pattern(longest)})


def _said(value: object) -> object:
    return "None" if value is None else value


ReplyText = Annotated[str, BeforeValidator(_said), _line(800)]
ItemName = Annotated[str, BeforeValidator(_said), _line(160)]
Sentence = Annotated[str, BeforeValidator(_said), _line(240)]
Number = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


class ProfileReply(Structured):
    """Who would enjoy an item, or what a customer likes."""

    summarization: ReplyText
    reasoning: Sentence


class NegativeReply(Structured):
    """A hard negative and why it is one."""

    hard_negative_item: ItemName
    reasoning: Sentence


class NumberedNegative(Structured):
    """A hard negative for the listed item of this number."""

    item: Number
    hard_negative_item: ItemName
    reasoning: Sentence


class NegativesReply(Structured):
    """A hard negative for each listed item."""

    negatives: list[NumberedNegative]


class UncheckedNegatives(Structured):
    """The same, its entries not looked at yet: a bad one costs its pair, not the others."""

    negatives: list[object]


@cache
def reply_schema(kind: type[Structured]) -> str:
    """JSON Schema of a kind of reply, made once."""
    return strict_schema(kind)


@dataclass(frozen=True)
class ParsedReply:
    """An answer: its text, and why. text is "" where the model answered that there is none."""

    text: str
    reasoning: str

    @property
    def reason(self) -> str:
        """Why there is no text, "" where there is one."""
        return "" if self.text else NONE_FOUND


def profile_parser(words: int, chat_markers: Sequence[str]) -> Callable[[Reply], ParsedReply]:
    """Reads a ProfileReply. words: the most that were asked for. The parser raises BadReply."""
    read = reply_parser(ProfileReply)

    def parse(reply: Reply) -> ParsedReply:
        found = read(reply)
        return parsed_reply(found.summarization, found.reasoning, words, chat_markers)

    return parse


def negative_parser(words: int, chat_markers: Sequence[str]) -> Callable[[Reply], ParsedReply]:
    """Reads a NegativeReply, as `profile_parser`."""
    read = reply_parser(NegativeReply)

    def parse(reply: Reply) -> ParsedReply:
        found = read(reply)
        return parsed_reply(found.hard_negative_item, found.reasoning, words, chat_markers)

    return parse


def negatives_parser(n: int, words: int, chat_markers: Sequence[str]) -> Callable[[Reply], list[ParsedReply | str]]:
    """Reads answers for the pairs numbered 1 to n: in their order an answer, or the reason why there is none.

    Entries are told apart by their number, never by their place. An entry that cannot be read costs its pair alone;
    two entries of one number cost that pair, for nobody knows which is meant.
    """
    read = reply_parser(UncheckedNegatives)

    def parse(reply: Reply) -> list[ParsedReply | str]:
        found: dict[int, ParsedReply | str] = {}
        for entry in read(reply).negatives:
            number, answer = _numbered(entry, words, chat_markers)
            found[number] = "the reply answers it twice" if number in found else answer
        return [found.get(number, "the reply leaves it out") for number in range(1, n + 1)]

    return parse


def _numbered(entry: object, words: int, chat_markers: Sequence[str]) -> tuple[int, ParsedReply | str]:
    """The number of an entry, 0 where it has none, and its answer or the reason why there is none."""
    number = entry.get("item") if isinstance(entry, dict) else None
    if type(number) is not int:
        return 0, "its entry in the reply has no number"
    try:
        read = NumberedNegative.model_validate(entry)
        return number, parsed_reply(read.hard_negative_item, read.reasoning, words, chat_markers)
    except ValidationError:
        return number, "its entry in the reply is not as asked for"
    except BadReply as bad:
        return number, bad.reason


def title_parser(
    allowed: Callable[[str], bool], owned: Sequence[str], chat_markers: Sequence[str]
) -> Callable[[Reply], ParsedReply]:
    """Reads a bare title of a closed list. owned: titles of the list that are not allowed here."""
    refused = frozenset(owned)

    def parse(reply: Reply) -> ParsedReply:
        text = clean(reply.text, chat_markers=chat_markers, max_length=MAX_CHARACTERS)
        if not allowed(text):
            raise BadReply(f"found {text[:60]!r}, which is no title of the catalogue")
        if text in refused:
            raise BadReply(f"found {text[:60]!r}, which the user has")
        return ParsedReply(text, "")

    return parse


def parsed_reply(text: str, reasoning: str, words: int, chat_markers: Sequence[str]) -> ParsedReply:
    """An answer made fit to be kept, shown and put into other prompts. Raises BadReply where it is blank or far too long."""
    cleaned = clean(text, chat_markers=chat_markers, max_length=MAX_CHARACTERS + 1)
    if not cleaned:
        raise BadReply("the answer is blank")
    if len(cleaned) > MAX_CHARACTERS or len(cleaned.split()) > WORD_TOLERANCE * words:
        raise BadReply(f"found {len(cleaned.split())} words in the answer, expected at most {words}")
    none = cleaned.strip(" .\"'").casefold() == "none"
    return ParsedReply("" if none else cleaned, clean(reasoning, chat_markers=chat_markers, max_length=MAX_CHARACTERS))
