"""Counter-based randomness: who asks, and for what, decides the numbers; the order of asking does not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
from numpy.random import Generator, Philox
from numpy.typing import NDArray

BLOCK = 1024
"""Pair rows that share one generator."""


def generator(seed: int, purpose: str, epoch: int = 0, block: int = 0) -> Generator:
    """Return the generator of one block of work: the same four arguments give the same numbers, anywhere.

    seed and purpose become the key of a Philox counter generator, epoch and block its counter, so that a resumed
    run, another thread or another process draws what the unbroken run draws.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    # The lowest two words count within a block, so blocks cannot run into each other.
    counter = np.array([0, 0, block, epoch], dtype=np.uint64)
    return Generator(Philox(key=int.from_bytes(digest, "little"), counter=counter))


def by_block(
    n_rows: int,
    first: int,
    draw: Callable[[slice, Generator], NDArray[np.int64]],
    *,
    seed: int,
    purpose: str,
    epoch: int,
) -> NDArray[np.int64]:
    """Concatenate `draw(rows, rng)` over blocks of 1,024 rows; no generator outlives its block.

    n_rows: rows of this batch. first: number of the batch's first block within the epoch.
    """
    starts = range(0, n_rows, BLOCK)
    return np.concatenate(
        [
            draw(slice(start, min(start + BLOCK, n_rows)), generator(seed, purpose, epoch, first + number))
            for number, start in enumerate(starts)
        ]
    )
