"""The same asker gets the same numbers; the order of asking decides nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator

from hardneg.random import BLOCK, by_block, generator


def test_the_same_arguments_give_the_same_numbers() -> None:
    first, second = generator(3, "split", 2, 5).random(1000), generator(3, "split", 2, 5).random(1000)
    assert first.shape == (1000,)
    assert (first == second).all()


@pytest.mark.parametrize("other", [(4, "split", 2, 5), (3, "splits", 2, 5), (3, "split", 5, 2), (3, "split", 2, 6)])
def test_every_argument_matters(other: tuple[int, str, int, int]) -> None:
    numbers = generator(3, "split", 2, 5).random(1000)
    others = generator(*other).random(1000)
    assert not np.isin(numbers, others).any()
    assert abs(np.corrcoef(numbers, others)[0, 1]) < 0.1


def test_numbers_hold_still_over_versions() -> None:
    """A change here changes every result that was ever made with a seed."""
    assert generator(0, "split").integers(1000, size=5).tolist() == [42, 48, 998, 144, 585]


def test_a_block_does_not_run_into_the_next() -> None:
    """More numbers than any block asks for, and none of the next block's among them."""
    long = generator(0, "x", 0, 0).integers(2**63, size=200_000)
    following = generator(0, "x", 0, 1).integers(2**63, size=1000)
    assert long.shape == (200_000,)
    assert not np.isin(following, long).any()


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 3 * BLOCK + 5), first=st.integers(0, 9))
def test_blocks_are_drawn_apart_and_joined_in_order(n: int, first: int) -> None:
    def draw(rows: slice, rng: Generator) -> np.ndarray:
        return rng.integers(2**40, size=len(range(n)[rows]))

    drawn = by_block(n, first, draw, seed=7, purpose="test", epoch=2)
    parts = [
        generator(7, "test", 2, first + number).integers(2**40, size=min(BLOCK, n - start))
        for number, start in enumerate(range(0, n, BLOCK))
    ]
    assert drawn.shape == (n,)
    assert (drawn == np.concatenate(parts)).all()


def test_a_batch_that_starts_later_gets_what_the_whole_epoch_gets() -> None:
    def draw(rows: slice, rng: Generator) -> np.ndarray:
        return rng.integers(2**40, size=rows.stop - rows.start)

    whole = by_block(4 * BLOCK, 0, draw, seed=1, purpose="p", epoch=0)
    later = by_block(2 * BLOCK, 2, draw, seed=1, purpose="p", epoch=0)
    assert whole.shape == (4 * BLOCK,)
    assert (whole[2 * BLOCK :] == later).all()
