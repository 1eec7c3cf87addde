"""Schemas and parsers of replies with profiles and negatives."""

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
"""Maximum number of pairs in one call."""
MAX_CHARACTERS = 2_000
"""Maximum length of an accepted answer."""
WORD_TOLERANCE = 2
"""Factor by which an answer may exceed its maximum number of words, because models count words badly."""
NONE_FOUND = "the model found none"


def _bounded(longest: int) -> Any:
    """Bound a string in the schema, for decoders that would not end it; the parser accepts longer ones."""
    return Field(json_schema_extra={"pattern": safe_pattern(longest)})


NULL_AS_NONE = BeforeValidator(lambda value: "None" if value is None else value)
ReplyText = Annotated[str, NULL_AS_NONE, _bounded(800)]
ItemName = Annotated[str, NULL_AS_NONE, _bounded(160)]
Sentence = Annotated[str, NULL_AS_NONE, _bounded(240)]
Number = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


# The model receives the docstrings of these classes (in schemas) and the reasons of BadReply (in repeated requests):
# changing a word changes requests, and stored replies no longer match.


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
    """A NegativesReply with unvalidated entries, so that an invalid entry loses only its own pair."""

    negatives: list[object]


@cache
def reply_schema(kind: type[Structured]) -> str:
    """Return the JSON Schema of a kind of reply."""
    return strict_schema(kind)


@dataclass(frozen=True)
class ParsedReply:
    """Text and reasoning of an answer, or the reason why there is no text.

    text: "" where there is none. reason: "" with a text, NONE_FOUND where the model answered "None", else why the reply
    is missing or unusable.
    """

    text: str = ""
    reasoning: str = ""
    reason: str = ""

    @property
    def answered(self) -> bool:
        """True for a text and for the answer "None"."""
        return self.reason in ("", NONE_FOUND)


def text_parser(
    kind: type[ProfileReply | NegativeReply], words: int, chat_markers: Sequence[str]
) -> Callable[[Reply], ParsedReply]:
    """Return a parser of a text with its reasoning that raises BadReply. words: maximum that the prompt asks for."""
    read = reply_parser(kind)

    def parse(reply: Reply) -> ParsedReply:
        text, reasoning = dict(read(reply)).values()
        return parsed_reply(text, reasoning, words, chat_markers)

    return parse


def negatives_parser(n: int, words: int, chat_markers: Sequence[str]) -> Callable[[Reply], list[ParsedReply]]:
    """Return a parser of a NegativesReply: an answer for each of the pairs 1..n, unanswered where it cannot be used.

    Entries are assigned by their number, not by their position. An unreadable entry loses only its own pair; so do two
    entries of one number, since it is unclear which is meant. The parser raises BadReply.
    """
    read = reply_parser(UncheckedNegatives)

    def parse(reply: Reply) -> list[ParsedReply]:
        answers: dict[int, ParsedReply] = {}
        for entry in read(reply).negatives:
            number, answer = _parse_entry(entry, words, chat_markers)
            answers[number] = ParsedReply(reason="the reply answers it twice") if number in answers else answer
        left_out = ParsedReply(reason="the reply leaves it out")
        return [answers.get(number, left_out) for number in range(1, n + 1)]

    return parse


def _parse_entry(entry: object, words: int, chat_markers: Sequence[str]) -> tuple[int, ParsedReply]:
    """Return the number of an entry, 0 where it has none, and its answer."""
    number = entry.get("item") if isinstance(entry, dict) else None
    if type(number) is not int:
        return 0, ParsedReply(reason="its entry in the reply has no number")
    try:
        negative = NumberedNegative.model_validate(entry)
        return number, parsed_reply(negative.hard_negative_item, negative.reasoning, words, chat_markers)
    except ValidationError:
        return number, ParsedReply(reason="its entry in the reply is not as asked for")
    except BadReply as bad:
        return number, ParsedReply(reason=bad.reason)


def title_parser(
    in_catalogue: Callable[[str], bool], owned: Sequence[str], chat_markers: Sequence[str]
) -> Callable[[Reply], ParsedReply]:
    """Return a parser of a bare title of the closed list. owned: titles of the list that the user has."""
    excluded = frozenset(owned)

    def parse(reply: Reply) -> ParsedReply:
        text = clean(reply.text, chat_markers=chat_markers, max_length=MAX_CHARACTERS)
        if not in_catalogue(text):
            raise BadReply(f"found {text[:60]!r}, which is no title of the catalogue")
        if text in excluded:
            raise BadReply(f"found {text[:60]!r}, which the user has")
        return ParsedReply(text)

    return parse


def parsed_reply(text: str, reasoning: str, words: int, chat_markers: Sequence[str]) -> ParsedReply:
    """Return an answer cleaned for storage and for other prompts. Raises BadReply where it is blank or far too long."""
    cleaned = clean(text, chat_markers=chat_markers, max_length=MAX_CHARACTERS + 1)
    if not cleaned:
        raise BadReply("the answer is blank")
    if len(cleaned) > MAX_CHARACTERS or len(cleaned.split()) > WORD_TOLERANCE * words:
        raise BadReply(f"found {len(cleaned.split())} words in the answer, expected at most {words}")
    reasoning = clean(reasoning, chat_markers=chat_markers, max_length=MAX_CHARACTERS)
    if cleaned.strip(" .\"'").casefold() == "none":
        return ParsedReply("", reasoning, NONE_FOUND)
    return ParsedReply(cleaned, reasoning)
