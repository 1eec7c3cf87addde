"""Closed lists: every path ends in an allowed answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import ConfigError
from hardneg.llm.local.closed_list import ClosedListConstraint, Trie

ANSWERS = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple), min_size=1, max_size=20)


def make_constraint(
    answers: list[tuple[int, ...]], excluded: list[int] | None = None, max_tokens: int = 99
) -> ClosedListConstraint:
    return ClosedListConstraint(Trie.of(answers), np.array(excluded or [], np.int64), max_tokens, end=0)


def test_by_hand() -> None:
    constraint = make_constraint([(5, 6), (5,), (7, 8), (5, 6, 7)])
    assert constraint.next_tokens().tolist() == [5, 7]
    assert constraint.answer == -1
    constraint.take(5)
    assert (constraint.answer, constraint.next_tokens().tolist()) == (1, [6])
    constraint.take(6)
    assert (constraint.answer, constraint.next_tokens().tolist()) == (0, [7])
    constraint.take(7)
    assert (constraint.answer, constraint.next_tokens().tolist()) == (3, [])


def test_excluded_answer_closes_only_its_branch() -> None:
    constraint = make_constraint([(5, 6), (5,), (7, 8), (5, 6, 7)], excluded=[0, 2])
    assert constraint.next_tokens().tolist() == [5]
    constraint.take(5)
    constraint.take(6)
    assert constraint.next_tokens().tolist() == [7]


def test_too_long_answers_are_not_started() -> None:
    assert make_constraint([(5, 6, 7), (8,)], max_tokens=2).next_tokens().tolist() == [8]
    assert make_constraint([(5, 6, 7)], max_tokens=2).empty


def test_answers_with_the_same_tokens() -> None:
    constraint = make_constraint([(5,), (5,)], excluded=[0])
    constraint.take(5)
    assert constraint.answer == 1


@pytest.mark.parametrize("answers", [[], [(1,), ()]])
def test_blank_answers_are_refused(answers: list[tuple[int, ...]]) -> None:
    with pytest.raises(ConfigError, match="closed list"):
        Trie.of(answers)


@given(ANSWERS, st.data())
def test_every_walk_ends_in_an_allowed_answer(answers: list[tuple[int, ...]], data: st.DataObject) -> None:
    excluded = data.draw(st.lists(st.integers(0, len(answers) - 1), unique=True))
    max_tokens = data.draw(st.integers(1, 6))
    allowed = {index for index, answer in enumerate(answers) if index not in excluded and len(answer) <= max_tokens}
    constraint = make_constraint(answers, excluded, max_tokens)
    assert constraint.empty == (not allowed)
    if not allowed:
        assert not constraint.next_tokens().size
        return
    path: tuple[int, ...] = ()
    while True:
        following = {
            answers[index][len(path)] for index in allowed if answers[index][: len(path)] == path != answers[index]
        }
        assert constraint.next_tokens().tolist() == sorted(following)
        ending = [index for index in sorted(allowed) if answers[index] == path]
        assert (constraint.answer in ending) if ending else constraint.answer == -1
        if ending and (not following or data.draw(st.booleans())):
            break
        token = data.draw(st.sampled_from(sorted(following)))
        constraint.take(token)
        path += (token,)
    assert constraint.answer in allowed


@given(ANSWERS, st.data())
def test_every_allowed_answer_can_be_reached(answers: list[tuple[int, ...]], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(answers) - 1))
    constraint = make_constraint(answers, [other for other in range(len(answers)) if answers[other] != answers[index]])
    for token in answers[index]:
        assert constraint.next_tokens().tolist() == [token]
        constraint.take(token)
    assert answers[constraint.answer] == answers[index]


@given(ANSWERS, st.data())
def test_several_answers_are_allowed_distinct_and_in_number(
    answers: list[tuple[int, ...]], data: st.DataObject
) -> None:
    excluded = data.draw(st.lists(st.integers(0, len(answers) - 1), unique=True))
    count, separator, end = data.draw(st.integers(1, 4)), data.draw(st.sampled_from([(4,), (4, 5)])), 6
    trie = Trie.of(answers)
    constraint = ClosedListConstraint(trie, np.array(excluded, np.int64), 99, end, count=count, separator=separator)
    if constraint.empty:
        return
    tokens: list[int] = []
    while True:
        flags = np.zeros(7, bool)
        constraint.allow(flags, 99)
        token = data.draw(st.sampled_from(np.flatnonzero(flags).tolist()))
        if token == end:
            break
        constraint.take(token)
        tokens.append(token)
    found = constraint.answers
    assert len(set(found)) == len(found) == min(count, len(answers) - len(excluded))
    assert not set(found) & set(excluded)
    written = [token for index in found for token in (*answers[index], *separator)][: -len(separator)]
    assert tokens == written
