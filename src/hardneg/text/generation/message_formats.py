"""Formats of messages: prompt templates, kept as files, and the schemas and parsers of replies."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, Field, PositiveInt, ValidationError

from hardneg.config import Config, parse_config
from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Message, Reply
from hardneg.llm.structured import Structured, reply_parser, safe_pattern
from hardneg.llm.untrusted import clean

PROMPT_NAMES = (
    "item_profile",
    "user_profile",
    "negative",
    "negatives",
    "negative_title",
    "item_negatives",
    "item_negative_titles",
)
PARTS = re.compile(r"\A---\n(?P<header>.*?)\n---\n## system\n(?P<system>.*?)\n## user\n(?P<user>.*)\Z", re.DOTALL)
PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
MAX_PAIRS = 20
"""Maximum number of pairs in one call."""
MAX_CHARACTERS = 2_000
"""Maximum length of an accepted answer."""
WORD_TOLERANCE = 2
"""Factor by which an answer may exceed its maximum number of words, because models count words badly."""
NONE_FOUND = "the model found none"
NULL_AS_NONE = BeforeValidator(lambda value: "None" if value is None else value)
Number = Literal[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]


class PromptExample(Config):
    """An item and negatives of it, by the respect in which they differ from it."""

    title: str
    products: dict[str, str]


class PromptHeader(Config):
    """Settings at the top of a prompt file."""

    name: str
    version: PositiveInt
    answer_words: PositiveInt
    """Maximum number of words that the prompt asks for."""
    answer_tokens: PositiveInt
    """Maximum tokens of an answer, with a margin: a truncated answer is invalid JSON."""
    examples: tuple[PromptExample, ...] = ()
    """Examples that precede the item as turns of the chat."""


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt file. digest: hex SHA-256 of the file, for manifests; it changes with the wording, unlike the version."""

    header: PromptHeader
    system: str
    user: str
    digest: str

    def render(self, **blocks: str) -> tuple[Message, ...]:
        """Return the messages, with each placeholder {{name}} of the user message replaced by the block of that name.

        Replaces all placeholders in one pass, so that placeholders inside blocks stay as they are. Raises ConfigError
        where placeholders and blocks do not match.
        """
        placeholders = set(PLACEHOLDER.findall(self.user))
        if placeholders != set(blocks):
            raise ConfigError(
                f"prompt {self.header.name} has placeholders {sorted(placeholders)}, found blocks {sorted(blocks)}; "
                "give one block per placeholder"
            )
        user = PLACEHOLDER.sub(lambda placeholder: blocks[placeholder[1]], self.user)
        return Message("system", self.system), Message("user", user)


def read_prompt(text: str) -> PromptTemplate:
    """Parse a prompt file: front matter (YAML), "## system", "## user". Raises ConfigError where a part is missing."""
    text = text.replace("\r\n", "\n")
    parts = PARTS.match(text)
    if parts is None:
        raise ConfigError(
            f"found a prompt that begins {text[:30]!r}, expected front matter between --- lines, then ## system and ## user"
        )
    header = parse_config(PromptHeader, yaml.safe_load(parts["header"]), where="prompt")
    digest = hashlib.sha256(text.encode()).hexdigest()
    return PromptTemplate(header, parts["system"].strip(), parts["user"].strip(), digest)


@cache
def load_prompt(name: str) -> PromptTemplate:
    """Load a packaged prompt, one of PROMPT_NAMES."""
    if name not in PROMPT_NAMES:
        raise ConfigError(f"found prompt {name!r}, expected one of {', '.join(PROMPT_NAMES)}")
    return read_prompt((files("hardneg.text.generation") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))


def prompt_digests(*names: str) -> Mapping[str, str]:
    """Return the digest of each prompt by its name and version, for manifests."""
    return {f"{name} {load_prompt(name).header.version}": load_prompt(name).digest for name in names}


def _bounded(longest: int) -> Any:
    """Bound a string in the schema, for decoders that would not end it; the parser accepts longer ones."""
    return Field(json_schema_extra={"pattern": safe_pattern(longest)})


ReplyText = Annotated[str, NULL_AS_NONE, _bounded(800)]
ItemName = Annotated[str, NULL_AS_NONE, _bounded(160)]
Sentence = Annotated[str, NULL_AS_NONE, _bounded(240)]


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
