"""Index of catalogue titles, exact and normalised."""

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
    """Titles by item, "" where an item has none, and groups of items with equal titles.

    texts: (items,). groups: (items,) number of the title's group, -1 without a title. A group holds the items with equal
    normalised titles (see `normalise_title`); titles that normalise to "" must be equal as given. Groups are numbered by
    their first item. first: (groups,) that item.
    """

    texts: tuple[str, ...]
    groups: Indices
    first: Indices

    @classmethod
    def of(cls, texts: Sequence[str]) -> TitleIndex:
        """Index the titles of a catalogue."""
        numbers: dict[str, int] = {}
        keys = [normalise_title(text) or f"={text}" if text else "" for text in texts]
        groups = np.array([numbers.setdefault(key, len(numbers)) if key else -1 for key in keys], np.int64)
        first = np.unique(groups[groups >= 0], return_index=True)[1]
        return cls(tuple(texts), groups, np.flatnonzero(groups >= 0)[first])

    @cached_property
    def distinct(self) -> list[str]:
        """Distinct titles in order of first appearance: the closed list for constrained decoding."""
        return list(dict.fromkeys(filter(None, self.texts)))

    @cached_property
    def exact(self) -> dict[str, int]:
        """First item of each title."""
        return {text: item for item, text in reversed(list(enumerate(self.texts))) if text}

    @cached_property
    def loose(self) -> dict[str, int]:
        """First item of each normalised title."""
        titles = ((normalise_title(self.texts[item]), int(item)) for item in self.first)
        return {title: item for title, item in titles if title}

    def variants(self, items: Indices) -> tuple[str, ...]:
        """Return the titles of these items and all other titles of their groups, sorted."""
        groups = set(self.groups[items].tolist())
        return tuple(sorted({text for group in groups for text in self._titles_by_group.get(group, ())}))

    def owned(self, train: Interactions) -> Interactions:
        """Return (user, group) pairs where the user has an item with a title of the group."""
        has_title = self.groups[train.items] >= 0
        users, groups = train.users[has_title], self.groups[train.items[has_title]]
        return Interactions.of(users, groups, n_users=train.n_users, n_items=len(self.first))

    @cached_property
    def _titles_by_group(self) -> dict[int, set[str]]:
        titles: dict[int, set[str]] = {}
        for text, group in zip(self.texts, self.groups.tolist(), strict=True):
            if text:
                titles.setdefault(group, set()).add(text)
        return titles


def normalise_title(text: str) -> str:
    """Return a title without differences of spelling, "" where nothing is left.

    Applies NFKC and case folding, deletes apostrophes, and replaces other punctuation and symbols by spaces, except +
    and # (C, C++ and C# differ). Joins white space and drops English articles at the start, or at the end after a
    comma ("Matrix, The").
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    folded = folded.replace("'", "").replace("\N{RIGHT SINGLE QUOTATION MARK}", "")
    spaced = "".join(char if unicodedata.category(char)[0] in "LMN" or char in "+#" else " " for char in folded)
    words = spaced.split()
    if len(words) > 1 and words[-1] in ARTICLES and folded.rpartition(",")[2].strip(" .)") in ARTICLES:
        words = words[:-1]
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return " ".join(words)
