"""The batch size and the learning rate of large data, with which the time of an epoch grows as the pairs do."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST_BATCH = 2**18
"""Largest batch that is chosen for large data: its arrays of candidates then stay below a gigabyte."""
LARGEST_RATE = 1e-2
"""Largest learning rate that is chosen for large data; above it, Adam diverged or lost quality."""


@dataclass(frozen=True)
class StepSize:
    """Training pairs of a step, and the learning rate."""

    batch_size: int
    learning_rate: float


def limit_steps(n_pairs: int, usual: StepSize, max_steps: int | None) -> StepSize:
    """Return the size of steps of which an epoch over the pairs has at most `max_steps`.

    A step of a graph backbone costs a propagation over all pairs, and one of Adam a pass over all rows, whatever the batch.
    So an epoch of batches of one size costs the square of the pairs, and one of a given number of steps costs as much as
    the pairs. The learning rate grows with the square root of the batch (Malladi et al., 2022), up to LARGEST_RATE, so that
    an epoch goes about as far. None, or data that needs no larger batch: the usual ones.
    """
    if max_steps is None or n_pairs <= max_steps * usual.batch_size:
        return usual
    batch_size = max(usual.batch_size, min(math.ceil(n_pairs / max_steps), LARGEST_BATCH))
    rate = usual.learning_rate * math.sqrt(batch_size / usual.batch_size)
    return StepSize(batch_size, max(usual.learning_rate, min(rate, LARGEST_RATE)))
