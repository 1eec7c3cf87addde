"""Answers held to a closed list: decoding walks a tree of the list's tokens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hardneg.llm.local.trie import Trie, Walk
from hardneg.llm.protocol import LlmError
from hardneg.types import Flags


@dataclass(frozen=True)
class ClosedList:
    """A list of distinct answers and the tree of their tokens."""

    answers: tuple[str, ...]
    trie: Trie
    places: dict[str, int]

    @staticmethod
    def of(answers: Sequence[str], tokens: Callable[[str], Sequence[int]]) -> ClosedList:
        """Build it; answers that are given twice count once. tokens: the ids of a bare text."""
        distinct = tuple(dict.fromkeys(answers))
        trie = Trie.of([tokens(answer) for answer in distinct])
        return ClosedList(distinct, trie, {answer: place for place, answer in enumerate(distinct)})

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the list."""
        return hashlib.sha256(json.dumps(self.answers).encode()).hexdigest()

    def walk(self, excluded: Sequence[str], limit: int) -> Walk:
        """A way to one answer that is not in `without` (what is not in the list does not matter) and fits the limit."""
        places = [self.places[answer] for answer in excluded if answer in self.places]
        return Walk(self.trie, np.array(sorted(places), np.int64), limit - 1)


class ClosedListConstraint:
    """One answer on its way through a catalogue, as a constraint of decoding."""

    def __init__(self, closed_list: ClosedList, walk: Walk, end: int) -> None:
        self._catalogue, self._walk, self._end = closed_list, walk, end

    @property
    def answer(self) -> str:
        """The answer that was come to. Raises LlmError where decoding stopped on the way, which it must not."""
        if not self._walk.may_end:
            raise LlmError("an answer of a closed list was cut; report this with the list")
        return self._catalogue.answers[self._walk.answer]

    def allow(self, tokens: Flags, _: int, /) -> None:
        """Beginnings of allowed answers, and the end where one ends."""
        tokens[self._walk.next_tokens()] = True
        tokens[self._end] = self._walk.may_end

    def fits(self, _token: int, _left: int, /) -> bool:
        """Always: answers over the limit were never allowed."""
        return True

    def closing(self) -> int:
        """Not asked for, since everything fits."""
        return self._end

    def take(self, token: int, /) -> None:
        """Go on by a token."""
        self._walk.take(token)
