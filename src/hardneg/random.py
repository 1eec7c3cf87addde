"""Counter-based randomness: who asks, and for what, decides the numbers; the order of asking does not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator, Philox

from hardneg.types import Floats, Indices


def generator(seed: int, purpose: str, epoch: int = 0) -> Generator:
    """Return the generator of one piece of work: the same three arguments give the same numbers, anywhere.

    seed and purpose become the key of a Philox counter generator, epoch part of its counter.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=16).digest()
    # The lowest words count within an epoch, so epochs cannot run into each other.
    counter = np.array([0, 0, 0, epoch], dtype=np.uint64)
    return Generator(Philox(key=int.from_bytes(digest, "little"), counter=counter))


@dataclass(frozen=True)
class Stream:
    """Numbers that belong to train pairs: each is a function of (seed, purpose, epoch, pair row, place) alone.

    So a pair gets the same numbers in whatever batch, thread or process it is handled, and after any interruption.
    """

    seed: int
    purpose: str
    epoch: int

    @property
    def key(self) -> np.uint64:
        """What seed and purpose become for the generator in compiled code (`hardneg.philox`)."""
        digest = hashlib.blake2b(f"{self.seed}/{self.purpose}".encode(), digest_size=8).digest()
        return np.uint64(int.from_bytes(digest, "little"))

    def uniform(self, rows: Indices, n: int) -> Floats:
        """(len(rows), n) float32 numbers of [0, 1), n for each pair row."""
        from hardneg.philox import units

        out = np.empty((len(rows), n), np.float32)
        units(self.key, self.epoch, rows, out)
        return out
