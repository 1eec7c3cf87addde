"""Summary statistics of a dataset: size, density, concentration, and how well texts predict preferences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.types import Indices


@dataclass(frozen=True)
class Description:
    """One row of the table of `hardneg data describe`.

    pairs: distinct ones. repeated: further rows of these pairs. density: pairs / (users x items). gini: Gini coefficient of the item counts, 0 if equal, near 1 if few items have
    nearly all pairs. text_correlation: see `hardneg.text.text_preference_correlation`; None without texts.
    """

    name: str
    users: int
    items: int
    pairs: int
    density: float
    gini: float
    text_correlation: float | None
    repeated: int = 0


REFERENCE_DATASETS = (
    Description("Amazon Scientific (5-core)", 8317, 4344, 58492, 0.001619, 0.430, 0.362),
    Description("Yelp 2019 (5-core)", 30431, 20033, 304524, 0.000500, 0.461, 0.204),
)
"""Two real datasets, as described by `hardneg data describe`, for comparison with simulated data."""


def describe_pairs(name: str, pairs: Interactions, text_correlation: float | None, *, repeated: int = 0) -> Description:
    """Describe a dataset by its pairs, a given text correlation and number of repeated rows."""
    n_users, n_items, n = pairs.n_users, pairs.n_items, len(pairs)
    return Description(
        name, n_users, n_items, n, n / (n_users * n_items), gini(pairs.item_counts), text_correlation, repeated
    )


def gini(counts: Indices) -> float:
    """Return the Gini coefficient of non-negative counts in [0, 1): mean absolute difference over twice the mean."""
    ordered = np.sort(counts).astype(float)
    n, total = len(ordered), ordered.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))
