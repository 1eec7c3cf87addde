"""Ranking metrics with binary gains, one value per user, computed from the hits at each rank."""

from __future__ import annotations

import re

import numpy as np

from hardneg.errors import ConfigError, DataError
from hardneg.types import Flags, Floats, Indices


def recall(hits: Flags, n_relevant: Indices, *, k: int) -> Floats:
    """Share of a user's held-out items among the first k.

    hits: (users, depth), True if the item at that rank is held out; depth >= k. n_relevant: (users,), held-out
    items per user, at least 1. Returns (users,) in [0, 1].
    """
    _require_relevant(n_relevant)
    return np.asarray(hits[:, :k].sum(axis=1) / n_relevant)


def precision(hits: Flags, n_relevant: Indices, *, k: int) -> Floats:
    """Share of the first k items that are held out, always divided by k. Shapes as in `recall`."""
    _require_relevant(n_relevant)
    return np.asarray(hits[:, :k].sum(axis=1) / k)


def hit_rate(hits: Flags, n_relevant: Indices, *, k: int) -> Floats:
    """1 if any of the first k items is held out, else 0. Shapes as in `recall`."""
    _require_relevant(n_relevant)
    return hits[:, :k].any(axis=1).astype(float)


def ndcg(hits: Flags, n_relevant: Indices, *, k: int) -> Floats:
    """Normalised discounted cumulative gain at k, discount 1 / log2(rank + 1), ideal cut at min(k, n_relevant).

    Shapes as in `recall`. Source: Jarvelin & Kekalainen (2002), with today's usual discount.
    """
    _require_relevant(n_relevant)
    discounts = 1.0 / np.log2(np.arange(2, k + 2))
    ideal = np.cumsum(discounts)[np.minimum(n_relevant, k) - 1]
    first = hits[:, :k]
    return np.asarray(first @ discounts[: first.shape[1]] / ideal)


METRICS = {"recall": recall, "ndcg": ndcg, "precision": precision, "hit_rate": hit_rate}


def parse_metric(metric: str) -> tuple[str, int]:
    """Parse `"recall@20"` into `("recall", 20)`."""
    match = re.fullmatch(r"(\w+)@([1-9]\d*)", metric)
    if match is None or match[1] not in METRICS:
        raise ConfigError(
            f"found metric {metric!r}, expected one of {', '.join(METRICS)} with @ and a depth, as in recall@20"
        )
    return match[1], int(match[2])


def _require_relevant(n_relevant: Indices) -> None:
    if (n_relevant < 1).any():
        raise DataError("found users without held-out items, for whom a ranking metric is undefined; leave them out")
