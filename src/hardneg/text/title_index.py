"""The titles of a catalogue, and which of them say the same."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.types import Indices

ARTICLES = ("the", "a", "an")


@dataclass(frozen=True)
class TitleIndex:
    """Titles by item, "" where an item has none, in two readings: as they stand, and normalised.

    texts: (items,). normalised: (items,), see `normalise_title`. groups: (items,) one number for all items whose titles read
    the same (of signs alone: are the same), -1 without a title; numbered by the first item. first: (groups,) that item.
    """

    texts: tuple[str, ...]
    normalised: tuple[str, ...]
    groups: Indices
    first: Indices

    @classmethod
    def of(cls, texts: Sequence[str]) -> TitleIndex:
        """Read a catalogue's titles."""
        normal = tuple(normalise_title(text) for text in texts)
        numbers: dict[str, int] = {}
        keys = [reads or f"={text}" if text else "" for text, reads in zip(texts, normal, strict=True)]
        groups = [numbers.setdefault(key, len(numbers)) if key else -1 for key in keys]
        array = np.array(groups, np.int64)
        first = np.unique(array[array >= 0], return_index=True)[1]
        return cls(tuple(texts), normal, array, np.flatnonzero(array >= 0)[first])

    @cached_property
    def distinct(self) -> list[str]:
        """Every title once, in order of first appearance: the closed list."""
        return list(dict.fromkeys(filter(None, self.texts)))

    @cached_property
    def exact(self) -> dict[str, int]:
        """Title -> the first item that has it."""
        return {text: item for item, text in reversed(list(enumerate(self.texts))) if text}

    @cached_property
    def loose(self) -> dict[str, int]:
        """Normalised title -> the first item that has it."""
        return {self.normalised[item]: int(item) for item in self.first if self.normalised[item]}

    def spelt_like(self, items: Indices) -> tuple[str, ...]:
        """The titles of these items and all other titles that read the same when normalised, sorted."""
        return tuple(
            sorted({text for group in set(self.groups[items].tolist()) for text in self._spellings.get(group, ())})
        )

    def owned(self, train: Interactions) -> Interactions:
        """Users x groups: True pairs where the user has an item of that title."""
        named = self.groups[train.items] >= 0
        users, groups = train.users[named], self.groups[train.items[named]]
        return Interactions.of(users, groups, n_users=train.n_users, n_items=len(self.first))

    @cached_property
    def _spellings(self) -> dict[int, list[str]]:
        found: dict[int, list[str]] = {}
        for text, group in zip(self.texts, self.groups.tolist(), strict=True):
            if text and text not in found.setdefault(group, []):
                found[group].append(text)
        return found


def normalise_title(text: str) -> str:
    """A title without what spellings differ in.

    Compatibility forms made one (NFKC), case folded, apostrophes left out, other punctuation and symbols (but + and #:
    C, C++ and C# are three things) to spaces, white space joined, English articles at the start or (as in "Matrix,
    The") at the end left out. "" where nothing is left.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = folded.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    kept = "".join(char if unicodedata.category(char)[0] in "LMN" or char in "+#" else " " for char in folded)
    words = kept.split()
    if len(words) > 1 and words[-1] in ARTICLES and _after_comma(folded):
        words = words[:-1]
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return " ".join(words)


def _after_comma(folded: str) -> bool:
    return folded.rpartition(",")[2].strip(" .)") in ARTICLES
