"""What a language model is shown of a user and candidates: path codes, or titles.

Instructions, history, candidates stand in this order, so that the calls about one user begin alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from typing import Protocol

from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import ConfigError
from hardneg.judging.replies import LABELS, verdict_schema
from hardneg.llm.protocol import Request
from hardneg.llm.untrusted import clean, data_block
from hardneg.text.generation.profile_prompts import titles_or_blank
from hardneg.text.generation.prompt_template import PromptTemplate, read_prompt
from hardneg.trees import Trees
from hardneg.types import Indices

CODES, CODE, TITLES = "codes", "code", "titles"
NAMES = (CODES, CODE, TITLES)
PER_NUMBER = 4
"""Most tokens that a number in an answer takes, its comma and space included."""
NO_CODE = "-"


@cache
def judge_prompt(name: str) -> PromptTemplate:
    """One of the judges' prompts, by its name (NAMES)."""
    if name not in NAMES:
        raise ConfigError(f"found prompt {name!r}, expected one of {', '.join(NAMES)}")
    return read_prompt((files("hardneg.judging") / "prompts" / f"{name}.md").read_text(encoding="utf-8"))


def judge_prompt_digests(*names: str) -> Mapping[str, str]:
    """Name and version -> digest, for manifests."""
    return {f"judge {name} {judge_prompt(name).header.version}": judge_prompt(name).digest for name in names}


class JudgePrompts(Protocol):
    """Makes the requests of a judge."""

    def unknown(self, user: int, item: int) -> str:
        """Why nothing is asked about a candidate, "" where something is."""
        ...

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """What is asked about candidates of one user, which are numbered from 1."""
        ...


@dataclass(frozen=True)
class CodePrompts:
    """Path codes of the history and the candidates; no ids, no titles.

    What the release of DTL-NS shows as {item_id, co_path, emb_path} an item: each item's two codes. Items with the same
    structural code share a line. one: a candidate a call, whose label's probability is wanted.
    """

    train: Interactions
    codes: Trees
    one: bool = False

    def unknown(self, user: int, item: int) -> str:  # noqa: ARG002
        """Something is asked about every candidate: one without codes agrees with nothing."""
        return ""

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """Numbers of the positive ones, or the probabilities of LABELS for a single one."""
        name, shown = (CODE, self._item) if self.one else (CODES, self._numbered)
        messages = judge_prompt(name).render(history=self._history(user), candidates=shown(items))
        room = judge_prompt(name).header.answer_tokens
        if self.one:
            return Request(messages, max_tokens=room, choices=LABELS)
        return Request(messages, max_tokens=room + PER_NUMBER * len(items), schema=verdict_schema(len(items)))

    def _history(self, user: int) -> str:
        counts = Counter((self._texts[0][item], self._texts[1][item]) for item in self.train.items_of(user).tolist())
        lines: dict[str, list[str]] = {}
        for (structural, semantic), n in sorted(counts.items()):
            lines.setdefault(structural, []).append(semantic if n == 1 else f"{semantic} x{n}")
        return "\n".join(f"{structural}: {', '.join(others)}" for structural, others in lines.items())

    def _numbered(self, items: Sequence[int] | Indices) -> str:
        return "\n".join(f"{n}. {self._code(item)}" for n, item in enumerate(items, start=1))

    def _item(self, items: Sequence[int] | Indices) -> str:
        return self._code(items[0])

    def _code(self, item: int) -> str:
        return f"{self._texts[0][item]}/{self._texts[1][item]}"

    @cached_property
    def _texts(self) -> tuple[list[str], list[str]]:
        trees = self.codes.structural, self.codes.semantic
        structural, semantic = ([text or NO_CODE for text in tree.texts()] for tree in trees)
        return structural, semantic


@dataclass(frozen=True)
class TitlePrompts:
    """Titles of the history and the candidates: strangers' words, cleaned and put into blocks of data.

    foreign: strings that they must not hold, as the model names them. longest: characters of a title.
    """

    split: Split
    chat_markers: tuple[str, ...] = ()
    longest: int = 200

    def unknown(self, user: int, item: int) -> str:
        """A candidate without a title is nothing to judge; nor is any without a history that has titles."""
        if not self._titles[item]:
            return "the candidate has no title"
        return "" if self._history(user) else "no item of the history has a title"

    def request(self, user: int, items: Sequence[int] | Indices) -> Request:
        """Numbers of the positive ones."""
        numbered = [{"number": n, "title": self._titles[item]} for n, item in enumerate(items, start=1)]
        messages = judge_prompt(TITLES).render(
            history=data_block("history", {"titles": self._history(user)}),
            candidates=data_block("candidates", {"items": numbered}),
        )
        room = judge_prompt(TITLES).header.answer_tokens + PER_NUMBER * len(items)
        return Request(messages, max_tokens=room, schema=verdict_schema(len(items)))

    def _history(self, user: int) -> list[str]:
        found = (self._titles[item] for item in self.split.train.items_of(user).tolist())
        return [title for title in found if title]

    @cached_property
    def _titles(self) -> list[str]:
        return [
            clean(title, chat_markers=self.chat_markers, max_length=self.longest)
            for title in titles_or_blank(self.split.texts)
        ]
