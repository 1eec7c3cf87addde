"""Walks through a closed list end in an allowed answer, whatever is chosen on the way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import ConfigError
from hardneg.llm.local.closed_list import ClosedListConstraint, Trie

ANSWERS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple), min_size=1, max_size=20)


def walk(answers: list[tuple[int, ...]], excluded: list[int] | None = None, longest: int = 99) -> ClosedListConstraint:
    return ClosedListConstraint(Trie.of(answers), np.array(excluded or [], np.int64), longest, end=0)


def test_by_hand() -> None:
    way = walk([(5, 6), (5,), (7, 8), (5, 6, 7)])
    assert way.next_tokens().tolist() == [5, 7]
    assert way.answer == -1
    way.take(5)
    assert (way.answer, way.next_tokens().tolist()) == (1, [6])
    way.take(6)
    assert (way.answer, way.next_tokens().tolist()) == (0, [7])
    way.take(7)
    assert (way.answer, way.next_tokens().tolist()) == (3, [])


def test_excluded_answer_closes_only_its_branch() -> None:
    way = walk([(5, 6), (5,), (7, 8), (5, 6, 7)], excluded=[0, 2])
    assert way.next_tokens().tolist() == [5]
    way.take(5)
    way.take(6)
    assert way.next_tokens().tolist() == [7]


def test_too_long_answers_are_not_started() -> None:
    assert walk([(5, 6, 7), (8,)], longest=2).next_tokens().tolist() == [8]
    assert walk([(5, 6, 7)], longest=2).empty


def test_answers_with_the_same_tokens() -> None:
    way = walk([(5,), (5,)], excluded=[0])
    way.take(5)
    assert way.answer == 1


@pytest.mark.parametrize("answers", [[], [(1,), ()]])
def test_blank_answers_are_refused(answers: list[tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="closed list"):
        Trie.of(answers)


@given(ANSWERS, st.data())
def test_every_walk_ends_in_an_allowed_answer(answers: list[tuple[int, ...]], data: st.DataObject) -> None:
    excluded = data.draw(st.lists(st.integers(0, len(answers) - 1), unique=True))
    longest = data.draw(st.integers(1, 6))
    allowed = {place for place, answer in enumerate(answers) if place not in excluded and len(answer) <= longest}
    way = walk(answers, excluded, longest)
    assert way.empty == (not allowed)
    if not allowed:
        assert not way.next_tokens().size
        return
    taken: tuple[int, ...] = ()
    while True:
        following = {
            answers[place][len(taken)] for place in allowed if answers[place][: len(taken)] == taken != answers[place]
        }
        assert way.next_tokens().tolist() == sorted(following)
        ending = [place for place in sorted(allowed) if answers[place] == taken]
        assert (way.answer in ending) if ending else way.answer == -1
        if ending and (not following or data.draw(st.booleans())):
            break
        token = data.draw(st.sampled_from(sorted(following)))
        way.take(token)
        taken += (token,)
    assert way.answer in allowed


@given(ANSWERS, st.data())
def test_every_allowed_answer_can_be_reached(answers: list[tuple[int, ...]], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(answers) - 1))
    way = walk(answers, [other for other in range(len(answers)) if answers[other] != answers[place]])
    for token in answers[place]:
        assert way.next_tokens().tolist() == [token]
        way.take(token)
    assert answers[way.answer] == answers[place]
