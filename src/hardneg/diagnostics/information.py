"""What a contrastive loss says about mutual information."""

from __future__ import annotations

import math

from hardneg.errors import DataError


def infonce_bound(loss: float, n_negatives: int) -> float:
    """log(N + 1) - loss, in nats: a lower bound of the mutual information of query and label (Oord et al., 2018).

    loss: mean InfoNCE over *held-out* pairs, each against N negatives drawn independently of it; on tuning pairs it
    bounds nothing. It cannot exceed log(N + 1), however much they share, and below 0 it says nothing.
    """
    if n_negatives < 1 or not loss >= 0:
        raise DataError(
            f"found loss {loss} with {n_negatives} negatives, expected a loss from 0 up and a negative at least"
        )
    return math.log(n_negatives + 1) - loss
