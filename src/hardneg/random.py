"""Counter-based randomness: numbers depend on seed, purpose and index, never on the order in which they are drawn."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, Philox

from hardneg.types import Floats, Indices


def generator(seed: int, purpose: str, epoch: int = 0) -> Generator:
    """Return a random generator; equal arguments give equal numbers.

    Seed and purpose form the key of a Philox counter generator, epoch is part of its counter.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    # The lowest words count within an epoch, so epochs cannot run into each other.
    counter = np.array([0, 0, 0, epoch], dtype=np.uint64)
    return Generator(Philox(key=int.from_bytes(digest, "little"), counter=counter))


@dataclass(frozen=True)
class Stream:
    """Random numbers of training pairs, each a function of (seed, purpose, epoch, pair index, position) alone.

    A pair gets the same numbers in any batch, thread or process, and after any interruption.
    """

    seed: int
    purpose: str
    epoch: int

    @property
    def key(self) -> np.uint64:
        """Key of the generator in compiled code (`hardneg.philox`), from seed and purpose."""
        digest = hashlib.blake2b(f"{self.seed}/{self.purpose}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))

    def uniform(self, rows: Indices, n: int) -> Floats:
        """Draw (len(rows), n) float32 numbers from [0, 1), n for each pair index."""
        from hardneg.philox import fill_uniform

        out = np.empty((len(rows), n), np.float32)
        fill_uniform(self.key, self.epoch, rows, out)
        return out
