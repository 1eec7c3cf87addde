"""Candidates of users keep their order and go back into rows."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.errors import DataError
from hardneg.judging import UserCandidates


def test_pairs_become_rows_in_their_order() -> None:
    found = UserCandidates.from_pairs(np.array([5, 2, 5, 5]), np.array([9, 3, 1, 4]))
    assert found.users.tolist() == [2, 5]
    assert found.items.tolist() == [[3, -1, -1], [9, 1, 4]]
    assert len(UserCandidates.from_pairs(np.array([], int), np.array([], int))) == 0


def test_judged_rows_are_those_that_are_there() -> None:
    found = UserCandidates(np.array([2, 5]), np.array([[3, -1], [9, 1]])).to_suspects(
        np.array([[0.3, np.nan], [np.nan, 1.0]]), "rule"
    )
    assert found.users.tolist() == [2, 5, 5]
    assert found.items.tolist() == [3, 9, 1]
    np.testing.assert_array_equal(found.probability, [0.3, np.nan, 1.0])


@pytest.mark.parametrize(
    ("users", "items", "said"),
    [
        ([0, 1], [[1, 2]], "expected"),
        ([0, 0], [[1], [2]], "two rows"),
        ([0, 1], [[1, 1], [2, 3]], "candidate twice"),
    ],
)
def test_what_is_no_table_of_candidates_is_refused(users: list[int], items: list[list[int]], said: str) -> None:
    with pytest.raises(DataError, match=said):
        UserCandidates(np.array(users), np.array(items))


def test_several_gaps_are_no_item_twice() -> None:
    assert len(UserCandidates(np.array([0]), np.array([[1, -1, -1]]))) == 1
