"""Philox4x32-10 (Salmon et al., 2011) in compiled code: a random number is a function of a key and a counter."""

from __future__ import annotations

import numpy as np

from hardneg.compiled import compiled, inlined
from hardneg.types import Floats, Indices

LOW = np.uint64(0xFFFFFFFF)
SHIFT = np.uint64(32)
MULTIPLY_0, MULTIPLY_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
BUMP_0, BUMP_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
Words = tuple[np.uint64, np.uint64]


@inlined
def philox(key: np.uint64, c0: np.uint64, c1: np.uint64, c2: np.uint64, c3: np.uint64) -> Words:
    """Return two 64-bit numbers for a 64-bit key and a counter of four 32-bit words."""
    k0, k1 = key & LOW, key >> SHIFT
    for _ in range(10):
        a, b = c0 * MULTIPLY_0, c2 * MULTIPLY_1
        c0, c1, c2, c3 = (b >> SHIFT) ^ c1 ^ k0, b & LOW, (a >> SHIFT) ^ c3 ^ k1, a & LOW
        k0, k1 = (k0 + BUMP_0) & LOW, (k1 + BUMP_1) & LOW
    return c0 | (c1 << SHIFT), c2 | (c3 << SHIFT)


@compiled
def scale_below(word: np.uint64, n: int) -> int:
    """Scale a 64-bit number to 0..n - 1, n below 2^32; probabilities differ by at most n / 2^64."""
    size = np.uint64(n)
    high = (word >> SHIFT) * size + (((word & LOW) * size) >> SHIFT)
    return int(high >> SHIFT)


@compiled
def unit_float(word: np.uint64) -> np.float32:
    """Return a number in [0, 1) from the upper 24 of the lower 32 bits."""
    return np.float32(np.float64((word & LOW) >> np.uint64(8)) * 2.0**-24)


@compiled
def fill_uniform(key: np.uint64, epoch: int, rows: Indices, out: Floats) -> None:
    """Set out[b, j] to a number uniform in [0, 1) that depends on (key, epoch, rows[b], j) alone.

    A row's words are made first, in a loop without a branch, so that the compiler uses vectors.
    """
    words = np.empty(((out.shape[1] + 3) // 4, 2), np.uint64)
    for b in range(len(rows)):
        row = np.uint64(rows[b]) & LOW
        for c in range(len(words)):
            words[c, 0], words[c, 1] = philox(key, row, np.uint64(epoch), np.uint64(c), np.uint64(0))
        for j in range(out.shape[1]):
            word = words[j >> 2, (j >> 1) & 1]
            out[b, j] = unit_float(word >> SHIFT if j & 1 else word)
