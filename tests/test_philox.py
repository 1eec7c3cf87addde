"""The generator of compiled code gives the published numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.philox import philox, scale_below, unit_float

ALL = 0xFFFFFFFF
KNOWN = [
    (0, (0, 0, 0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (0xFFFFFFFFFFFFFFFF, (ALL, ALL, ALL, ALL), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        0x299F31D0A4093822,
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]
"""Known answers that come with Random123: key, counter, four 32-bit words."""


@pytest.mark.parametrize(("key", "counter", "words"), KNOWN)
def test_known_answers(key: int, counter: tuple[int, ...], words: tuple[int, ...]) -> None:
    low, high = philox(np.uint64(key), *(np.uint64(c) for c in counter))
    assert (int(low) & ALL, int(low) >> 32, int(high) & ALL, int(high) >> 32) == words


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**32 - 1))
def test_scaling_equals_the_exact_product(word: int, n: int) -> None:
    assert scale_below(np.uint64(word), n) == (word * n) >> 64


@given(st.integers(0, 2**64 - 1))
def test_a_unit_number_is_below_one(word: int) -> None:
    assert unit_float(np.uint64(word)) == ((word & ALL) >> 8) / 2**24
