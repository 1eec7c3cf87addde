"""Prefix similarity against loops written after the released code, on codes of any shape."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.trees import PathCodes, best_in_history, prefix_similarity

Way = list[int]
WAYS = st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=15)


def slow_prefix(one: Way, other: Way) -> int:
    """Levels shared from the root on, step by step."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def slow_similarity(one: Way, other: Way) -> float:
    return slow_prefix(one, other) / min(len(one), len(other)) if one and other else 0.0


def codes_of(ways: list[Way]) -> PathCodes:
    return PathCodes.of_texts(["-".join(map(str, way)) for way in ways])


@given(WAYS, st.integers(0, 2**32 - 1))
def test_similarity_equals_the_slow_loop(ways: list[Way], seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, candidates = rng.integers(0, len(ways), 8), rng.integers(-1, len(ways), (8, 5))
    found = prefix_similarity(codes_of(ways), items, candidates)
    assert (found.shape, found.dtype) == ((8, 5), np.float32)
    for b in range(8):
        for place in range(5):
            candidate = int(candidates[b, place])
            expected = slow_similarity(ways[items[b]], ways[candidate] if candidate >= 0 else [])
            assert found[b, place] == np.float32(expected)


@given(WAYS)
def test_it_is_symmetric_within_its_bounds_and_1_for_equal_codes(ways: list[Way]) -> None:
    items = np.arange(len(ways))
    found = prefix_similarity(codes_of(ways), items, np.tile(items, (len(ways), 1)))
    np.testing.assert_array_equal(found, found.T)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.diagonal().tolist() == [1.0 if way else 0.0 for way in ways]


def test_by_hand() -> None:
    codes = codes_of([[0, 3, 1], [0, 3, 2, 1], [0, 3], [1], []])
    found = prefix_similarity(codes, np.array([0]), np.array([[0, 1, 2, 3, 4, -1]]))
    np.testing.assert_allclose(found, [[1, 2 / 3, 1, 0, 0, 0]], rtol=1e-6)


@given(WAYS, st.lists(st.lists(st.integers(0, 14), max_size=4), min_size=1, max_size=6), st.integers(0, 2**32 - 1))
def test_the_best_in_a_history_equals_the_slow_loop(ways: list[Way], bought: list[list[int]], seed: int) -> None:
    bought = [[item % len(ways) for item in items] for items in bought]
    starts = np.cumsum([0, *map(len, bought)])
    history = np.array([item for items in bought for item in items], np.int64)
    candidates = np.random.default_rng(seed).integers(-1, len(ways), (len(bought), 4))
    found = best_in_history(codes_of(ways), starts, history, candidates)
    assert found.prefix.dtype == np.int16
    assert found.similarity.dtype == np.float32
    for user, row in enumerate(candidates.tolist()):
        for place, candidate in enumerate(row):
            way = ways[candidate] if candidate >= 0 else []
            others = [ways[item] for item in bought[user]]
            assert found.prefix[user, place] == max((slow_prefix(way, other) for other in others), default=0)
            largest = max((slow_similarity(way, other) for other in others), default=0)
            assert found.similarity[user, place] == np.float32(largest)


def test_nothing_in_nothing_out() -> None:
    codes = codes_of([[0], []])
    assert prefix_similarity(codes, np.empty(0, np.int64), np.empty((0, 3), np.int64)).shape == (0, 3)
    empty = np.empty(0, np.int64)
    assert best_in_history(codes, np.array([0, 0]), empty, np.array([[0, 1]])).prefix.tolist() == [[0, 0]]


@pytest.mark.parametrize(("items", "candidates"), [([2], [[0]]), ([-1], [[0]]), ([0], [[2]]), ([0], [[-2]])])
def test_items_of_another_catalogue_are_refused(items: list[int], candidates: list[list[int]]) -> None:
    with pytest.raises(DataError, match="another catalogue"):
        prefix_similarity(codes_of([[0], [1]]), np.array(items), np.array(candidates))


def test_histories_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="one history a row"):
        best_in_history(codes_of([[0]]), np.array([0, 1]), np.array([0]), np.array([[0], [0]]))
    with pytest.raises(DataError, match="one history a row"):
        best_in_history(codes_of([[0]]), np.array([0, 2]), np.array([0]), np.array([[0]]))


@pytest.mark.parametrize(("items", "candidates"), [((3,), (2, 4)), ((1,), (3, 4)), ((2,), (2,)), ((2, 1), (2, 4))])
def test_rows_of_candidates_that_do_not_fit_the_items_are_refused(
    items: tuple[int, ...], candidates: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match="a row of candidates an item"):
        prefix_similarity(codes_of([[0]]), np.zeros(items, np.int64), np.zeros(candidates, np.int64))
