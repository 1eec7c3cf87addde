"""What a dataset is like: sizes, density, popularity, and how far its texts tell of taste."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.types import Indices


@dataclass(frozen=True)
class Description:
    """One row of the table that `hardneg data describe` prints.

    density: pairs / (users x items). gini: of the item counts, 0 where all are equal, near 1 where few items have all.
    text_taste: the correlation that `text/taste.py` defines; None without texts.
    """

    name: str
    users: int
    items: int
    pairs: int
    density: float
    gini: float
    text_taste: float | None


REAL_SETS = (
    Description("Amazon Scientific (5-core)", 8317, 4344, 58492, 0.001619, 0.430, 0.362),
    Description("Yelp 2019 (5-core)", 30431, 20033, 304524, 0.000500, 0.461, 0.204),
)
"""Two real sets, as `hardneg data describe` reports them, to hold a simulated store against."""


def describe_pairs(name: str, pairs: Interactions, text_taste: float | None) -> Description:
    """Count and summarise; the text-taste correlation is handed in, since it needs texts."""
    return Description(
        name,
        pairs.n_users,
        pairs.n_items,
        len(pairs),
        len(pairs) / (pairs.n_users * pairs.n_items),
        gini(pairs.item_counts),
        text_taste,
    )


def gini(counts: Indices) -> float:
    """Gini coefficient of non-negative counts, in [0, 1): mean absolute difference over twice the mean."""
    ordered = np.sort(counts).astype(float)
    n, total = len(ordered), ordered.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))
