"""Prompts of LLM judges, with path codes or with titles, and how replies are parsed.

The order is instructions, history, candidates, so that calls about one user share a prefix that providers can cache.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Protocol

from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.llm.protocol import BadReply, Reply, Request
from hardneg.llm.structured import Structured, reply_parser
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.message_formats import PromptTemplate, read_prompt
from hardneg.text.generation.profile_generation import titles_or_blank
from hardneg.trees import Trees
from hardneg.types import Indices

LABELS = ("positive", "negative")
"""Choices of a model whose probabilities are read."""
SHOWN = 40
"""Maximum characters of an entry that a report quotes."""
CODES, CODE, TITLES = "codes", "code", "titles"
NAMES = (CODES, CODE, TITLES)
CUT_LIST = re.compile(r'\{\s*"positive"\s*:\s*\[([\s\d,]*)\Z')
"""An answer without the end of its list."""
TOKENS_PER_NUMBER = 4
"""Maximum number of tokens of a number in an answer, with comma and space."""
NO_TITLE, NO_TITLES = "without a title", "without a title in the history"
"""Why a candidate is not sent."""
NO_CODE = "-"
"""Path code of an item outside the tree."""


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
    be incomplete, and where no entry is the number of a candidate. A list that reached the limit with more than n
    entries repeats itself, as those of small models do, and counts as complete.
    """
    read = reply_parser(LooseVerdict)

    def parse(reply: Reply) -> Verdict:
        repeated = _entries_of_cut_list(reply) if reply.finish == "length" else []
        entries = repeated if len(repeated) > n else read(reply).positive
        if reply.finish in ("length", "closed") and len(entries) <= n:
            raise BadReply(f"the reply reached its limit of {reply.limit or reply.usage.answer_tokens} tokens")
        numbers = [_number(entry) for entry in entries]
        valid = [number for number in numbers if 1 <= number <= n]
        foreign = [str(entry)[:SHOWN] for entry, number in zip(entries, numbers, strict=True) if not 1 <= number <= n]
        if foreign and not valid:
            raise BadReply(f"found {foreign[0]!r}, expected numbers of candidates, 1 to {n}")
        return Verdict(tuple(sorted(set(valid))), tuple(foreign))

    return parse


def _entries_of_cut_list(reply: Reply) -> list[object]:
    """Return the numbers of a list without its end, except the last one, which may lack digits; [] where it is none."""
    cut = CUT_LIST.search(reply.text)
    return [] if cut is None else [int(number) for number in cut[1].replace(",", " ").split()[:-1]]


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


@cache
def judge_prompt(name: str) -> PromptTemplate:
    """Return the prompt called `name`, one of NAMES."""
    if name not in NAMES:
        raise ConfigError(f"found prompt {name!r}, expected one of {', '.join(NAMES)}")
    return read_prompt((files("hardneg.judging") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))


def judge_prompt_digests(*names: str) -> Mapping[str, str]:
    """Return name and version -> digest, for manifests."""
    return {f"judge {name} {judge_prompt(name).header.version}": judge_prompt(name).digest for name in names}


class JudgePrompts(Protocol):
    """Builds the requests of an LLM judge."""

    def skip_reason(self, user: int, item: int) -> str:
        """Return why a candidate is not sent to the LLM, "" where it is sent."""
        ...

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """Return the request about candidates of one user. They are numbered from 1."""
        ...


@dataclass(frozen=True)
class CodePrompts:
    """Prompts with the two path codes of each item, without ids and titles.

    The released code of DTL-NS sends {item_id, co_path, emb_path} for each item. Here history items with the same
    structural code share a line. single: one candidate per call, for the probability of its label. answer_factor:
    factor on the maximum tokens of an answer.
    """

    train: Interactions
    codes: Trees
    single: bool = False
    answer_factor: float = 1.0

    def skip_reason(self, user: int, item: int) -> str:  # noqa: ARG002
        """Return "", since every candidate is sent; one without codes matches no history item."""
        return ""

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """Return a request for the numbers of the positive candidates, or for the label of a single one."""
        prompt = judge_prompt(CODE if self.single else CODES)
        codes = [f"{self._texts[0][item]}/{self._texts[1][item]}" for item in items]
        candidates = codes[0] if self.single else "\n".join(f"{n}. {code}" for n, code in enumerate(codes, start=1))
        messages = prompt.render(history=self._history(user), candidates=candidates)
        max_tokens = prompt.header.answer_tokens
        if self.single:
            return Request(messages, max_tokens=max_tokens, choices=LABELS)
        max_tokens = round(self.answer_factor * (max_tokens + TOKENS_PER_NUMBER * len(items)))
        return Request(messages, max_tokens=max_tokens, schema=verdict_schema(len(items)))

    def _history(self, user: int) -> str:
        counts = Counter((self._texts[0][item], self._texts[1][item]) for item in self.train.items_of(user).tolist())
        lines: dict[str, list[str]] = {}
        for (structural, semantic), n in sorted(counts.items()):
            lines.setdefault(structural, []).append(semantic if n == 1 else f"{semantic} x{n}")
        return "\n".join(f"{structural}: {', '.join(semantic)}" for structural, semantic in lines.items())

    @cached_property
    def _texts(self) -> tuple[list[str], list[str]]:
        trees = self.codes.structural, self.codes.semantic
        structural, semantic = ([text or NO_CODE for text in tree.texts()] for tree in trees)
        return structural, semantic


@dataclass(frozen=True)
class TitlePrompts:
    """Prompts with titles. These are untrusted text, so they are cleaned and put into data blocks.

    foreign: strings that are removed from titles, such as the chat markers of the model. longest: maximum characters of
    a title. answer_factor: factor on the maximum tokens of an answer.
    """

    split: Split
    chat_markers: tuple[str, ...] = ()
    longest: int = 200
    answer_factor: float = 1.0

    def skip_reason(self, user: int, item: int) -> str:
        """Return why a candidate is not sent: it has no title, or no item of the history has one."""
        if not self._titles[item]:
            return NO_TITLE
        return "" if self._history(user) else NO_TITLES

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """Return a request for the numbers of the positive candidates."""
        numbered = [{"number": n, "title": self._titles[item]} for n, item in enumerate(items, start=1)]
        prompt = judge_prompt(TITLES)
        messages = prompt.render(
            history=data_block("history", {"titles": self._history(user)}),
            candidates=data_block("candidates", {"items": numbered}),
        )
        max_tokens = round(self.answer_factor * (prompt.header.answer_tokens + TOKENS_PER_NUMBER * len(items)))
        return Request(messages, max_tokens=max_tokens, schema=verdict_schema(len(items)))

    def _history(self, user: int) -> list[str]:
        titles = (self._titles[item] for item in self.split.train.items_of(user).tolist())
        return [title for title in titles if title]

    @cached_property
    def _titles(self) -> list[str]:
        return clean_titles(self.split, self.chat_markers, self.longest)


def clean_titles(split: Split, chat_markers: tuple[str, ...], longest: int) -> list[str]:
    """Return the title of each item without chat markers, at most `longest` characters, "" where it has none."""
    return [clean(title, chat_markers=chat_markers, max_length=longest) for title in titles_or_blank(split.texts)]
