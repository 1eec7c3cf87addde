"""False-negative rate of the items that semantic negatives name, on simulated data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from hardneg.data.split import Split
from hardneg.data.truth import Truth
from hardneg.types import Indices


@dataclass(frozen=True)
class FalseNegatives:
    """share: mean like-probability of the named items in [0, 1], None without items. count: number of items."""

    share: float | None
    count: int


def named_false_negatives(users: Indices, items: Indices, split: Split, truth: Truth) -> FalseNegatives:
    """Return the mean like-probability of named items.

    users, items: (n,). An item of -1 is a text outside the catalogue and is ignored. An item observed in train has
    probability 1. truth: in the split's numbering.
    """
    in_catalogue = items >= 0
    users, items = users[in_catalogue], items[in_catalogue]
    if not len(items):
        return FalseNegatives(None, 0)
    observed = split.train.contains(users, items)
    probability = np.where(observed, 1.0, truth.like_probability(users, items))
    return FalseNegatives(float(probability.mean()), len(items))


def false_negatives_by_way(groundings: Mapping[str, pl.DataFrame], split: Split, truth: Truth) -> pl.DataFrame:
    """Return columns way, false_negatives (share) and measured (named items), over the texts that are used.

    groundings: name of a grounding mode -> grounding table (row, item_id, used). Join the result by "way" to
    `grounding_comparison.compare_grounding`.
    """
    rows = []
    for way, frame in groundings.items():
        used = frame.filter(pl.col("used") & pl.col("item_id").is_not_null())
        items = used["item_id"].replace_strict(split.vocabulary.items, return_dtype=pl.Int64).to_numpy()
        rate = named_false_negatives(split.train.users[used["row"].to_numpy()], items, split, truth)
        rows.append({"way": way, "false_negatives": rate.share, "measured": rate.count})
    return pl.DataFrame(rows, schema={"way": pl.String, "false_negatives": pl.Float64, "measured": pl.Int64})
