"""Clusters within a capacity: only the excess moves, at the least additional cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import ConfigError, DataError
from hardneg.trees.clustering import assign_within_capacity


def random_costs(seed: int, n: int, k: int, *, ties: bool) -> np.ndarray:
    """Squared distances from points to centres, most points near the first one."""
    rng = np.random.default_rng(seed)
    points, centres = rng.normal(size=(n, 2)), 2 * rng.normal(size=(k, 2))
    centres[0] = 0
    costs = ((points[:, None] - centres) ** 2).sum(axis=2)
    return costs.round() if ties else costs


def released(labels: np.ndarray, capacity: int, k: int) -> np.ndarray:
    """Release: while a child is too large, its last item in array order moves to the smallest child."""
    labels = labels.copy()
    for child in range(k):
        while (labels == child).sum() > capacity:
            labels[np.flatnonzero(labels == child)[-1]] = np.bincount(labels, minlength=k).argmin()
    return labels


@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 6), st.integers(0, 20), st.booleans())
def test_every_cluster_is_within_capacity_and_only_the_excess_moves(
    seed: int, n: int, k: int, spare: int, ties: bool
) -> None:
    costs, capacity = random_costs(seed, n, k, ties=ties), -(-n // k) + spare
    labels, nearest = assign_within_capacity(costs, capacity), costs.argmin(axis=1)
    assert labels.shape == (n,)
    assert np.bincount(labels, minlength=k).max() <= capacity
    left = np.bincount(nearest[labels != nearest], minlength=k)
    np.testing.assert_array_equal(left, np.maximum(np.bincount(nearest, minlength=k) - capacity, 0))


@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(2, 6), st.integers(0, 5), st.booleans())
def test_points_that_move_have_no_larger_additional_cost_than_those_that_stay(
    seed: int, n: int, k: int, spare: int, ties: bool
) -> None:
    costs = random_costs(seed, n, k, ties=ties)
    labels, nearest = assign_within_capacity(costs, -(-n // k) + spare), costs.argmin(axis=1)
    for source in range(k):
        extra = costs - costs[:, [source]]
        stayed = (nearest == source) & (labels == source)
        for target in set(range(k)) - {source}:
            moved = (nearest == source) & (labels == target)
            if moved.any() and stayed.any():
                assert extra[moved, target].max() <= extra[stayed, target].min() + 1e-12


@given(st.integers(0, 10**6), st.integers(1, 80), st.integers(1, 6))
def test_the_order_of_points_does_not_matter(seed: int, n: int, k: int) -> None:
    costs, order = random_costs(seed, n, k, ties=False), np.random.default_rng(seed).permutation(n)
    capacity = -(-n // k)
    np.testing.assert_array_equal(
        assign_within_capacity(costs[order], capacity), assign_within_capacity(costs, capacity)[order]
    )


def test_by_hand() -> None:
    """All four are nearest to 0, which takes two: the two that are nearest to 1 move there."""
    costs = np.array([[0.0, 9], [0, 1], [0, 5], [0, 2]])
    assert assign_within_capacity(costs, 2).tolist() == [0, 1, 0, 1]


def test_it_costs_less_than_the_release_and_does_not_depend_on_the_order() -> None:
    """Methods DF6: the release moves the last items of an array, so reversing the array moves others, at a higher cost."""
    points = np.random.default_rng(0).normal(size=(400, 2))
    costs = ((points[:, None] - np.array([[0, 0], [4, 0], [0, 4], [4, 4]])) ** 2).sum(axis=2)
    own, of_release = assign_within_capacity(costs, 160), released(costs.argmin(axis=1), 160, 4)
    reversed_labels = released(costs[::-1].argmin(axis=1), 160, 4)[::-1]
    assert (of_release != reversed_labels).mean() > 0.1
    assert costs[np.arange(400), own].sum() < 0.7 * costs[np.arange(400), of_release].sum()


def test_too_small_a_capacity_is_refused() -> None:
    with pytest.raises(ConfigError, match="5 points for 2 clusters of 2"):
        assign_within_capacity(np.zeros((5, 2)), 2)


@pytest.mark.parametrize("cost", [np.inf, np.nan])
def test_costs_that_are_not_finite_are_refused(cost: float) -> None:
    with pytest.raises(DataError, match="5 points"):
        assign_within_capacity(np.full((5, 2), cost), 3)
