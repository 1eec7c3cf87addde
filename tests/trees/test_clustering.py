"""Trees over points: sizes, codes, order of items; clusters within a capacity, where only the excess moves."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.errors import ConfigError, DataError
from hardneg.trees import PathCodes, TreeConfig, build_tree
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


def members(codes: PathCodes) -> dict[tuple[int, ...], set[int]]:
    """Map the path of every node, root included, to its items."""
    nodes: dict[tuple[int, ...], set[int]] = {}
    for item, (row, length) in enumerate(zip(codes.codes.tolist(), codes.lengths.tolist(), strict=True)):
        for depth in range(length + 1 if length else 0):
            nodes.setdefault(tuple(row[:depth]), set()).add(item)
    return nodes


def leaves(codes: PathCodes) -> set[frozenset[int]]:
    return {
        frozenset(np.flatnonzero((codes.codes == path).all(axis=1)).tolist()) for path in np.unique(codes.codes, axis=0)
    }


@settings(max_examples=40)
@given(
    st.integers(0, 10**6),
    st.integers(2, 300),
    st.integers(2, 5),
    st.integers(1, 30),
    st.sampled_from([1.0, 1.3, 1.6, 9.0]),
    st.booleans(),
)
def test_every_node_is_within_capacity_and_every_leaf_is_small(
    seed: int, n: int, children: int, leaf: int, balance: float, repeated: bool
) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 3, (n, 2)).astype(float) if repeated else rng.standard_t(1.5, (n, 2))
    codes = build_tree(points, TreeConfig(children=children, leaf_items=leaf, balance=balance), seed=0)
    assert codes.coded.all()
    nodes = members(codes)
    for path, items in nodes.items():
        children_of_path = [node for other, node in nodes.items() if other[:-1] == path and len(other) == len(path) + 1]
        equal = (points[list(items)] == points[next(iter(items))]).all()
        if len(items) <= leaf or equal:
            assert len(children_of_path) == (1 if path == () else 0)
        else:
            n_children = min(children, len(items))
            least = -(-len(items) // n_children)
            assert max(map(len, children_of_path)) <= max(int(balance * len(items) / n_children), least)
            assert 2 <= len(children_of_path) <= n_children
            assert set().union(*children_of_path) == items


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(2, 300))
def test_the_order_of_items_does_not_matter(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points, order = rng.normal(size=(n, 3)), rng.permutation(n)
    config = TreeConfig(leaf_items=10)
    one, other = build_tree(points, config, seed=0), build_tree(points[order], config, seed=0)
    np.testing.assert_array_equal(other.codes, one.codes[order])


def test_near_points_share_a_leaf(rng: np.random.Generator) -> None:
    """Four clouds of 30: the first level separates them without moving any."""
    points = np.repeat(np.array([[0, 0], [9, 0], [0, 9], [9, 9]]), 30, axis=0) + rng.normal(size=(120, 2))
    codes = build_tree(points, TreeConfig(), seed=0)
    assert codes.codes.shape == (120, 1)
    assert leaves(codes) == {frozenset(range(start, start + 30)) for start in range(0, 120, 30)}


def test_a_child_with_nearly_all_items_is_divided_by_distance(rng: np.random.Generator) -> None:
    """Methods DF6: of a child with most items, those nearer to its centre stay."""
    points = np.concatenate([rng.normal(size=(1000, 2)), [[50, 0], [51, 0], [0, 50], [0, 51], [50, 50], [51, 50]]])
    codes = build_tree(points, TreeConfig(), seed=0)
    sizes = np.bincount(codes.codes[:, 0])
    assert sizes.max() == int(1.6 * 1006 / 4)
    assert sizes.sum() == 1006
    numbers = np.arange(1000)
    for child in range(4):
        of_child = numbers[codes.codes[:1000, 0] == child]
        if len(of_child) > 100:  # by array order, children would be runs of numbers
            assert abs(of_child.mean() - 499.5) < 60


def test_equal_points_share_a_leaf() -> None:
    points = np.array([[0.0, 0]] * 100 + [[5.0, 5]] * 100)
    codes = build_tree(points, TreeConfig(leaf_items=10), seed=0)
    sizes = sorted(len(leaf) for leaf in leaves(codes))
    assert sum(sizes) == 200
    assert build_tree(np.zeros((50, 2)), TreeConfig(), seed=0).texts() == ["0"] * 50


def test_items_without_a_point_have_no_code(rng: np.random.Generator) -> None:
    points = rng.normal(size=(100, 2))
    points[[3, 50], 1] = np.nan
    codes = build_tree(points, TreeConfig(), seed=0)
    assert np.flatnonzero(~codes.coded).tolist() == [3, 50]
    assert build_tree(np.full((4, 2), np.nan), TreeConfig(), seed=0).codes.shape == (4, 0)
    assert build_tree(np.empty((0, 2)), TreeConfig(), seed=0).codes.shape == (0, 0)


def test_a_tree_of_one_leaf_has_the_code_0() -> None:
    assert build_tree(np.array([[1.0], [2.0]]), TreeConfig(), seed=0).texts() == ["0", "0"]


def test_infinite_coordinates_are_refused() -> None:
    with pytest.raises(DataError, match="infinite"):
        build_tree(np.array([[np.inf], [2.0]]), TreeConfig(), seed=0)


def test_progress_ends_with_all_items(rng: np.random.Generator) -> None:
    seen: list[tuple[int, int]] = []
    build_tree(rng.normal(size=(100, 2)), TreeConfig(), seed=0, progress=lambda _, *counts: seen.append(counts))
    assert seen[-1] == (100, 100)
    assert all(one <= other for one, other in pairwise(seen))
