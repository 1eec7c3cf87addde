"""Candidates of users: order, padding and validation."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.errors import DataError
from hardneg.judging import UserCandidates


def test_pairs_become_rows_in_their_order() -> None:
    result = UserCandidates.from_pairs(np.array([5, 2, 5, 5]), np.array([9, 3, 1, 4]))
    assert result.users.tolist() == [2, 5]
    assert result.items.tolist() == [[3, -1, -1], [9, 1, 4]]
    assert len(UserCandidates.from_pairs(np.array([], int), np.array([], int))) == 0


def test_suspects_leave_out_padding() -> None:
    result = UserCandidates(np.array([2, 5]), np.array([[3, -1], [9, 1]])).to_suspects(
        np.array([[0.3, np.nan], [np.nan, 1.0]]), "rule"
    )
    assert result.users.tolist() == [2, 5, 5]
    assert result.items.tolist() == [3, 9, 1]
    np.testing.assert_array_equal(result.probability, [0.3, np.nan, 1.0])


@pytest.mark.parametrize(
    ("users", "items", "message"),
    [
        ([0, 1], [[1, 2]], "expected"),
        ([0, 0], [[1], [2]], "two rows"),
        ([0, 1], [[1, 1], [2, 3]], "candidate twice"),
    ],
)
def test_invalid_candidates_are_refused(users: list[int], items: list[list[int]], message: str) -> None:
    with pytest.raises(DataError, match=message):
        UserCandidates(np.array(users), np.array(items))


def test_padding_may_repeat() -> None:
    assert len(UserCandidates(np.array([0]), np.array([[1, -1, -1]]))) == 1
