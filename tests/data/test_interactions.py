"""Pairs as arrays behave like a set of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data.interactions import Interactions, union
from hardneg.errors import DataError

N_USERS, N_ITEMS = 5, 7
pair_lists = st.lists(st.tuples(st.integers(0, N_USERS - 1), st.integers(0, N_ITEMS - 1)), max_size=30)


def of(pairs: list[tuple[int, int]]) -> Interactions:
    users, items = np.array(pairs, np.int64).reshape(-1, 2).T
    return Interactions.of(users, items, n_users=N_USERS, n_items=N_ITEMS)


@settings(deadline=None, max_examples=60)
@given(pair_lists)
def test_of_keeps_every_pair_once_sorted(pairs: list[tuple[int, int]]) -> None:
    made = of(pairs)
    assert made.users.shape == made.items.shape == (len(made),)
    assert list(zip(made.users.tolist(), made.items.tolist(), strict=True)) == sorted(set(pairs))


@settings(deadline=None, max_examples=60)
@given(pair_lists)
def test_contains_equals_a_set_lookup(pairs: list[tuple[int, int]]) -> None:
    found = of(pairs).contains(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))
    assert found.shape == (N_USERS, N_ITEMS)
    assert found.tolist() == [[(u, i) in set(pairs) for i in range(N_ITEMS)] for u in range(N_USERS)]


@settings(deadline=None, max_examples=60)
@given(pair_lists)
def test_starts_counts_and_matrix_equal_slow_loops(pairs: list[tuple[int, int]]) -> None:
    made, distinct = of(pairs), set(pairs)
    assert made.starts.shape == (N_USERS + 1,)
    assert made.counts.tolist() == [sum(u == user for u, _ in distinct) for user in range(N_USERS)]
    assert made.item_counts.tolist() == [sum(i == item for _, i in distinct) for item in range(N_ITEMS)]
    for user in range(N_USERS):
        assert made.items_of(user).tolist() == sorted(i for u, i in distinct if u == user)
        assert (made.users[made.starts[user] : made.starts[user + 1]] == user).all()
    matrix = made.matrix()
    assert matrix.shape == (N_USERS, N_ITEMS)
    assert (matrix.toarray() == made.contains(np.arange(N_USERS)[:, None], np.arange(N_ITEMS))).all()


@settings(deadline=None, max_examples=30)
@given(pair_lists, st.lists(st.integers(0, N_USERS - 1), max_size=6))
def test_places_of_users_equal_a_slow_loop(pairs: list[tuple[int, int]], users: list[int]) -> None:
    made = of(pairs)
    starts, places = made.places_of(np.array(users, np.int64))
    found = [places[starts[k] : starts[k + 1]].tolist() for k in range(len(users))]
    assert found == [[place for place, owner in enumerate(made.users.tolist()) if owner == user] for user in users]
    assert len(places) == starts[-1]


@settings(deadline=None, max_examples=30)
@given(pair_lists, pair_lists)
def test_union_equals_a_set_union(one: list[tuple[int, int]], other: list[tuple[int, int]]) -> None:
    both = union(of(one), of(other))
    assert (both.n_users, both.n_items) == (N_USERS, N_ITEMS)
    assert list(zip(both.users.tolist(), both.items.tolist(), strict=True)) == sorted({*one, *other})


def test_no_pairs_are_fine() -> None:
    empty = of([])
    assert empty.counts.tolist() == [0] * N_USERS
    assert empty.contains(np.array([0, 1]), np.array([[1], [2], [3]])).shape == (3, 2)
    assert not empty.contains(np.array([0]), np.array([0])).any()


@pytest.mark.parametrize("item", [-1, N_ITEMS, 10 * N_ITEMS])
def test_an_item_outside_is_refused(item: int) -> None:
    with pytest.raises(DataError, match=r"found an item outside 0\.\.6"):
        of([(0, item)])
    with pytest.raises(DataError, match=r"found an item outside 0\.\.6"):
        Interactions(np.array([0]), np.array([item]), N_USERS, N_ITEMS)


@pytest.mark.parametrize("user", [-1, N_USERS])
def test_a_user_outside_is_refused(user: int) -> None:
    with pytest.raises(DataError, match=r"found a user outside 0\.\.4"):
        of([(user, 0)])


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(DataError, match=r"found \(2,\) users and \(1,\) items, expected two equal lengths"):
        Interactions(np.array([0, 1]), np.array([0]), N_USERS, N_ITEMS)


@pytest.mark.parametrize("pairs", [[(1, 0), (0, 0)], [(0, 2), (0, 1)], [(0, 1), (0, 1)]])
def test_unsorted_or_repeated_pairs_are_refused(pairs: list[tuple[int, int]]) -> None:
    users, items = np.array(pairs).T
    with pytest.raises(DataError, match=r"not distinct and sorted by user and item; use Interactions\.of"):
        Interactions(users, items, N_USERS, N_ITEMS)
