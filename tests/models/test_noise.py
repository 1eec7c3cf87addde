"""Random numbers of noise and dropout: a slow loop of SplitMix64."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.models.kernels import fill_units, words_for

MASK = 2**64 - 1


def loop_units(first: int, size: int) -> list[float]:
    """Four numbers of 16 bits from every output of SplitMix64, the lowest bits first."""
    numbers: list[float] = []
    state = first
    while len(numbers) < size:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        word ^= word >> 31
        numbers += [((word >> shift & 0xFFFF) + 0.5) / 65536 for shift in (0, 16, 32, 48)]
    return numbers[:size]


@pytest.mark.parametrize("size", [1, 4, 7, 64])
def test_units_are_those_of_the_slow_loop(size: int) -> None:
    out = np.empty(size, np.float32)
    for first in (0, 1, 2**63 + 12345, MASK):
        fill_units(np.uint64(first), words_for(size), out)
        assert out.tolist() == loop_units(first, size)
