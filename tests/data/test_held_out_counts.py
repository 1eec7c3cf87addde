"""Held-out pairs of each user: a slow reference, whole shares kept, totals that hold, and fair chances."""

from __future__ import annotations

from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data.held_out_counts import draw_held_out_counts
from hardneg.random import generator

SHARES = [(0.1, 0.1), (0.13, 0.13), (0.2, 0.3), (0.25, 0.25), (0.5, 0.5), (0.0, 0.1), (0.05, 0.0), (1 / 3, 1 / 3)]


def draw(sizes: list[int], valid: float, test: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    n_test, n_valid = draw_held_out_counts(np.array(sizes), valid=valid, test=test, rng=generator(seed, "test"))
    return n_test, n_valid


def draw_slowly(sizes: list[int], valid: float, test: float, seed: int) -> tuple[list[int], list[int]]:
    """User by user, in order of size: one more pair whenever the sum of fractions passes a point of the grid."""
    rng = generator(seed, "test")
    keys, offsets = rng.random(len(sizes)), rng.random(2)
    drawn = {"test": [0] * len(sizes), "valid": [0] * len(sizes)}
    for part, sign, offset in (("test", 1, offsets[0]), ("valid", -1, offsets[1])):
        total = offset
        for size in sorted(set(sizes)):
            target = min(test * size, size - 1)
            if part == "valid":
                target = min(valid * size, size - 1 - target)
            target = round(target) if abs(target - round(target)) < 1e-9 else target
            users = sorted((u for u in range(len(sizes)) if sizes[u] == size), key=lambda u: sign * keys[u])
            before, total = total, total + (target - floor(target)) * len(users)
            more = floor(total) - floor(before)
            for place, user in enumerate(users):
                drawn[part][user] = floor(target) + (place < more)
    valid_counts = [min(v, s - 1 - t) for v, t, s in zip(drawn["valid"], drawn["test"], sizes, strict=True)]
    return drawn["test"], valid_counts


sizes_of_users = st.lists(st.integers(1, 30), min_size=1, max_size=60)


@settings(deadline=None, max_examples=150)
@given(sizes_of_users, st.sampled_from(SHARES), st.integers(0, 9))
def test_the_counts_are_those_of_a_slow_loop(sizes: list[int], shares: tuple[float, float], seed: int) -> None:
    n_test, n_valid = draw(sizes, *shares, seed=seed)
    assert (n_test.tolist(), n_valid.tolist()) == draw_slowly(sizes, *shares, seed=seed)


@settings(deadline=None, max_examples=150)
@given(sizes_of_users, st.sampled_from(SHARES), st.integers(0, 9))
def test_every_user_gets_a_neighbouring_whole_number_and_keeps_a_train_pair(
    sizes: list[int], shares: tuple[float, float], seed: int
) -> None:
    valid, test = shares
    n_test, n_valid = draw(sizes, valid, test, seed=seed)
    all_sizes = np.array(sizes)
    targets = np.minimum(test * all_sizes, all_sizes - 1)
    assert (np.abs(n_test - targets) < 1).all()
    assert abs(n_test.sum() - targets.sum()) < 1
    assert (n_test + n_valid < all_sizes).all()
    assert (n_valid <= np.ceil(valid * all_sizes)).all()
    assert n_test.min() >= 0
    assert n_valid.min() >= 0
    if (all_sizes * (1 - valid - test) >= 3).all():  # room for both rounded up, and a train pair
        assert abs(n_valid.sum() - np.minimum(valid * all_sizes, all_sizes - 1 - targets).sum()) < 1 + 1e-9


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_whole_shares_need_no_chance(share: float) -> None:
    sizes = [10, 30, 20, 70, 110, 10]
    for seed in range(20):
        for counts in draw(sizes, share, share, seed=seed):
            assert counts.tolist() == [round(share * size) for size in sizes]


def test_many_users_of_four_pairs_hold_out_the_shares_requested() -> None:
    n_test, n_valid = draw([4] * 120, 0.1, 0.1)
    assert (n_test.sum(), n_valid.sum()) == (48, 48)
    assert (n_test + n_valid).max() == 1, "nobody holds out two pairs while others hold out none"


def test_each_user_of_one_size_has_the_same_chance() -> None:
    sizes = [4] * 10 + [7] * 5 + [3, 3]
    drawn = np.array([draw(sizes, 0.1, 0.15, seed=seed) for seed in range(3000)]).mean(axis=0)
    assert drawn[0] == pytest.approx(0.15 * np.array(sizes), abs=0.04)
    assert drawn[1] == pytest.approx(0.1 * np.array(sizes), abs=0.04)
