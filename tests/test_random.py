"""Numbers depend on seed, purpose and index, not on the order of calls."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from hardneg.random import Stream, generator


def test_the_same_arguments_give_the_same_numbers() -> None:
    first, second = generator(3, "split", 2).random(1000), generator(3, "split", 2).random(1000)
    assert first.shape == (1000,)
    assert (first == second).all()


@pytest.mark.parametrize("other", [(4, "split", 2), (3, "splits", 2), (3, "split", 5)])
def test_every_argument_matters(other: tuple[int, str, int]) -> None:
    numbers = generator(3, "split", 2).random(100_000)
    others = generator(*other).random(100_000)
    assert not np.isin(numbers, others).any()
    assert abs(np.corrcoef(numbers, others)[0, 1]) < 0.02


def test_numbers_are_the_same_in_every_version() -> None:
    """A change here would change all seeded results."""
    assert generator(0, "split").integers(1000, size=5).tolist() == [42, 48, 998, 144, 585]
    assert (Stream(0, "sampler", 1).uniform(np.arange(2), 3) * 1000).astype(int).tolist() == [
        [221, 408, 317],
        [470, 347, 283],
    ]


def test_an_epoch_does_not_run_into_the_next() -> None:
    long = generator(0, "x", 0).integers(2**63, size=200_000)
    following = generator(0, "x", 1).integers(2**63, size=1000)
    assert not np.isin(following, long).any()


def test_numbers_of_pairs_are_uniform_and_independent() -> None:
    drawn = Stream(1, "mixing", 2).uniform(np.arange(5000), 6)
    assert drawn.shape == (5000, 6)
    assert drawn.dtype == np.float32
    assert 0 <= drawn.min() < drawn.max() < 1
    assert stats.kstest(drawn.ravel().astype(float), "uniform").pvalue > 1e-3
    correlations = np.corrcoef(drawn.T)
    assert abs(correlations[~np.eye(6, dtype=bool)]).max() < 0.07
    assert abs(np.corrcoef(drawn[:-1, 0], drawn[1:, 0])[0, 1]) < 0.07


def test_numbers_of_a_pair_do_not_depend_on_the_batch() -> None:
    stream, rows = Stream(1, "mixing", 2), np.array([7, 3, 9000])
    assert (stream.uniform(rows, 5)[1] == stream.uniform(np.array([3]), 5)[0]).all()
    assert (stream.uniform(rows, 5)[:, :2] == stream.uniform(rows, 2)).all()


@pytest.mark.parametrize("other", [Stream(2, "mixing", 2), Stream(1, "mixed", 2), Stream(1, "mixing", 3)])
def test_another_stream_has_other_numbers(other: Stream) -> None:
    rows = np.arange(1000)
    assert abs(np.corrcoef(Stream(1, "mixing", 2).uniform(rows, 1)[:, 0], other.uniform(rows, 1)[:, 0])[0, 1]) < 0.15
