"""Path codes as matrix and as text, malformed codes, and the controls."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.trees import PathCodes

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
