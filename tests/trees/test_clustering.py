"""Trees over points: sizes, codes, order of items, and items without points."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.trees import PathCodes, TreeConfig, build_tree


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
