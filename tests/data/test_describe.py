"""Summaries against slow loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data.describe import describe_pairs, gini
from hardneg.data.interactions import Interactions


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=30).filter(any))
def test_gini_equals_the_mean_difference_over_twice_the_mean(counts: list[int]) -> None:
    n = len(counts)
    slow = sum(abs(a - b) for a in counts for b in counts) / (n * n) / (2 * sum(counts) / n)
    found = gini(np.array(counts))
    assert found == pytest.approx(slow, abs=1e-12)
    assert 0 <= found < 1


def test_gini_of_known_shapes() -> None:
    assert gini(np.array([4, 4, 4])) == 0
    assert gini(np.array([0, 0, 0])) == 0
    assert gini(np.array([0, 0, 0, 8])) == pytest.approx(0.75)


def test_describe_counts() -> None:
    pairs = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 0]), n_users=2, n_items=3)
    found = describe_pairs("shop", pairs, 0.5)
    assert (found.name, found.users, found.items, found.pairs) == ("shop", 2, 3, 3)
    assert found.density == pytest.approx(0.5)
    assert found.gini == pytest.approx(gini(np.array([2, 1, 0])))
    assert found.text_correlation == 0.5
