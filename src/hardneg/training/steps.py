"""The batch size and the learning rate of large data, with which the time of an epoch grows as the pairs do."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST_BATCH, LARGEST_NUMBERS = 2**18, 2**28
"""Largest batch that is chosen for large data, and largest batch x numbers of a pair (1 GiB)."""
LARGEST_RATE = 1e-2
"""Largest learning rate that is chosen for large data."""


@dataclass(frozen=True)
class StepSize:
    """Training pairs of a step, and the learning rate."""

    batch_size: int
    learning_rate: float


def limit_steps(n_pairs: int, usual: StepSize, max_steps: int | None, numbers: int) -> StepSize:
    """Return a batch size with which an epoch over the pairs has at most `max_steps` steps, and its learning rate.

    A step of a graph backbone costs a propagation over all pairs, and one of Adam a pass over all rows, whatever the batch.
    So an epoch of batches of one size costs the square of the pairs, and one of a given number of steps costs as much as
    the pairs. The learning rate grows with the square root of the batch (Malladi et al., 2022), up to LARGEST_RATE: a step
    goes further, an epoch less far. None, or data that needs no larger batch: the usual ones. numbers: of a pair, in the
    rows of its candidates; with LARGEST_BATCH they bound the batch, so that very large data has more steps.
    """
    if max_steps is None or n_pairs <= max_steps * usual.batch_size:
        return usual
    largest = min(LARGEST_BATCH, LARGEST_NUMBERS // numbers)
    batch_size = max(usual.batch_size, min(math.ceil(n_pairs / max_steps), largest))
    rate = usual.learning_rate * math.sqrt(batch_size / usual.batch_size)
    return StepSize(batch_size, max(usual.learning_rate, min(rate, LARGEST_RATE)))
