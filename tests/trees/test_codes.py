"""Path codes as matrix and as text, and the controls; prefix similarity against loops after the released code."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.trees import PathCodes, best_in_history, prefix_similarity

PATHS = st.lists(st.lists(st.integers(0, 12), max_size=6), max_size=12)


def coded(n: int = 300) -> PathCodes:
    """Codes of length 2 to 4 over four children, every tenth item without one."""
    rng = np.random.default_rng(5)
    codes = rng.integers(0, 4, (n, 4)).astype(np.int16)
    codes[np.arange(4) >= rng.integers(2, 5, n)[:, None]] = -1
    codes[::10] = -1
    return PathCodes(codes)


@given(PATHS)
def test_texts_are_read_back(paths: list[list[int]]) -> None:
    texts = ["-".join(map(str, path)) or None for path in paths]
    codes = PathCodes.of_texts(texts)
    assert codes.texts() == texts
    assert codes.lengths.tolist() == [len(path) for path in paths]
    assert codes.codes.shape == (len(paths), max(map(len, paths), default=0))
    assert sorted(codes.leaf_sizes) == sorted(Counter(text for text in texts if text).values())


def test_the_matrix_of_three_texts() -> None:
    codes = PathCodes.of_texts(["0-3-1", None, "2"])
    assert codes.codes.tolist() == [[0, 3, 1], [-1, -1, -1], [2, -1, -1]]
    assert codes.codes.dtype == np.int16
    assert codes.coded.tolist() == [True, False, True]


@pytest.mark.parametrize(
    "text", ["a", "0--1", "-1", "1-", "0-40000", "1.5", "0- 1", "1_0", "+3", "0-1\n", "\u0663", "9" * 5000]
)
def test_a_text_that_is_no_code_is_named(text: str) -> None:
    with pytest.raises(DataError, match="item 1,"):
        PathCodes.of_texts(["0", text])


@pytest.mark.parametrize("row", [[-1, 0, 1], [0, -1, 1], [0, -2, -1]])
def test_a_gap_is_refused(row: list[int]) -> None:
    with pytest.raises(DataError, match="item 1,"):
        PathCodes(np.array([[0, 1, 2], row], np.int16))


def test_another_type_is_refused() -> None:
    with pytest.raises(DataError, match="int16"):
        PathCodes(np.zeros((2, 2), np.int64))


def test_shuffled_permutes_the_codes(rng: np.random.Generator) -> None:
    codes = coded()
    shuffled = codes.shuffled(rng)
    np.testing.assert_array_equal(shuffled.coded, codes.coded)
    assert sorted(map(str, shuffled.texts())) == sorted(map(str, codes.texts()))
    assert (shuffled.codes != codes.codes).any(axis=1).mean() > 0.5
    np.testing.assert_array_equal(shuffled.codes, codes.shuffled(np.random.default_rng(0)).codes)


def test_random_codes_have_the_same_lengths_and_children_per_level(rng: np.random.Generator) -> None:
    codes = coded()
    random = codes.random_like(rng)
    np.testing.assert_array_equal(random.coded, codes.coded)
    assert sorted(random.lengths) == sorted(codes.lengths)
    for level in range(4):
        assert sorted(random.codes[:, level]) == sorted(codes.codes[:, level])


def test_random_codes_form_no_tree(rng: np.random.Generator) -> None:
    """In this tree level 1 follows from level 0; afterwards they are independent."""
    child = rng.integers(0, 4, 4000)
    random = PathCodes(np.stack([child, child], axis=1).astype(np.int16)).random_like(rng).codes
    assert 0.2 < (random[:, 0] == random[:, 1]).mean() < 0.3


CodePath = list[int]
HISTORY_PATHS = st.lists(st.lists(st.integers(0, 2), max_size=5), min_size=1, max_size=15)


def slow_prefix(one: CodePath, other: CodePath) -> int:
    """Count the common levels one by one."""
    count = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        count += 1
    return count


def slow_similarity(one: CodePath, other: CodePath) -> float:
    return slow_prefix(one, other) / min(len(one), len(other)) if one and other else 0.0


def codes_of(paths: list[CodePath]) -> PathCodes:
    return PathCodes.of_texts(["-".join(map(str, path)) for path in paths])


@given(HISTORY_PATHS, st.integers(0, 2**32 - 1))
def test_similarity_equals_the_slow_loop(paths: list[CodePath], seed: int) -> None:
    rng = np.random.default_rng(seed)
    items, candidates = rng.integers(0, len(paths), 8), rng.integers(-1, len(paths), (8, 5))
    found = prefix_similarity(codes_of(paths), items, candidates)
    assert (found.shape, found.dtype) == ((8, 5), np.float32)
    for b in range(8):
        for column in range(5):
            candidate = int(candidates[b, column])
            expected = slow_similarity(paths[items[b]], paths[candidate] if candidate >= 0 else [])
            assert found[b, column] == np.float32(expected)


@given(HISTORY_PATHS)
def test_it_is_symmetric_within_its_bounds_and_1_for_equal_codes(paths: list[CodePath]) -> None:
    items = np.arange(len(paths))
    found = prefix_similarity(codes_of(paths), items, np.tile(items, (len(paths), 1)))
    np.testing.assert_array_equal(found, found.T)
    assert ((found >= 0) & (found <= 1)).all()
    assert found.diagonal().tolist() == [1.0 if path else 0.0 for path in paths]


def test_by_hand() -> None:
    codes = codes_of([[0, 3, 1], [0, 3, 2, 1], [0, 3], [1], []])
    found = prefix_similarity(codes, np.array([0]), np.array([[0, 1, 2, 3, 4, -1]]))
    np.testing.assert_allclose(found, [[1, 2 / 3, 1, 0, 0, 0]], rtol=1e-6)


@given(
    HISTORY_PATHS, st.lists(st.lists(st.integers(0, 14), max_size=4), min_size=1, max_size=6), st.integers(0, 2**32 - 1)
)
def test_the_best_in_a_history_equals_the_slow_loop(
    paths: list[CodePath], histories: list[list[int]], seed: int
) -> None:
    histories = [[item % len(paths) for item in items] for items in histories]
    starts = np.cumsum([0, *map(len, histories)])
    history = np.array([item for items in histories for item in items], np.int64)
    candidates = np.random.default_rng(seed).integers(-1, len(paths), (len(histories), 4))
    found = best_in_history(codes_of(paths), starts, history, candidates)
    assert found.prefix.dtype == np.int16
    assert found.similarity.dtype == np.float32
    for user, row in enumerate(candidates.tolist()):
        for column, candidate in enumerate(row):
            path = paths[candidate] if candidate >= 0 else []
            others = [paths[item] for item in histories[user]]
            assert found.prefix[user, column] == max((slow_prefix(path, other) for other in others), default=0)
            largest = max((slow_similarity(path, other) for other in others), default=0)
            assert found.similarity[user, column] == np.float32(largest)


def test_empty_inputs_give_empty_outputs() -> None:
    codes = codes_of([[0], []])
    assert prefix_similarity(codes, np.empty(0, np.int64), np.empty((0, 3), np.int64)).shape == (0, 3)
    empty = np.empty(0, np.int64)
    assert best_in_history(codes, np.array([0, 0]), empty, np.array([[0, 1]])).prefix.tolist() == [[0, 0]]


@pytest.mark.parametrize(("items", "candidates"), [([2], [[0]]), ([-1], [[0]]), ([0], [[2]]), ([0], [[-2]])])
def test_items_of_another_catalogue_are_refused(items: list[int], candidates: list[list[int]]) -> None:
    with pytest.raises(DataError, match="found items"):
        prefix_similarity(codes_of([[0], [1]]), np.array(items), np.array(candidates))


def test_histories_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="1 histories"):
        best_in_history(codes_of([[0]]), np.array([0, 1]), np.array([0]), np.array([[0], [0]]))
    with pytest.raises(DataError, match="1 histories"):
        best_in_history(codes_of([[0]]), np.array([0, 2]), np.array([0]), np.array([[0]]))


@pytest.mark.parametrize(("items", "candidates"), [((3,), (2, 4)), ((1,), (3, 4)), ((2,), (2,)), ((2, 1), (2, 4))])
def test_rows_of_candidates_that_do_not_fit_the_items_are_refused(
    items: tuple[int, ...], candidates: tuple[int, ...]
) -> None:
    with pytest.raises(DataError, match=r"\(batch, n\)"):
        prefix_similarity(codes_of([[0]]), np.zeros(items, np.int64), np.zeros(candidates, np.int64))
