"""How many of the items that texts name are secretly liked, known because the store is simulated. Feeds nothing."""

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
    """share: mean chance in [0, 1] that the user likes the named item, None where none is named. count: items measured."""

    share: float | None
    count: int


def named_false_negatives(users: Indices, items: Indices, split: Split, truth: Truth) -> FalseNegatives:
    """True false negatives among named items.

    users, items: (n,), an item of -1 is left out: nothing can be said of a text outside the catalogue. What the user
    was observed with counts as liked for certain. truth: in the split's numbering.
    """
    known = items >= 0
    users, items = users[known], items[known]
    if not len(items):
        return FalseNegatives(None, 0)
    observed = split.train.contains(users, items)
    liked = np.where(observed, 1.0, truth.like_probability(users, items))
    return FalseNegatives(float(liked.mean()), len(items))


def false_negatives_by_way(groundings: Mapping[str, pl.DataFrame], split: Split, truth: Truth) -> pl.DataFrame:
    """Of the texts that serve, by way: false_negatives (share), measured (texts that mean an item).

    groundings: way -> grounding table (row, item_id, used). To be joined to `negatives.ways.compare_ways` by way.
    """
    rows = []
    for way, frame in groundings.items():
        used = frame.filter(pl.col("used") & pl.col("item_id").is_not_null())
        items = used["item_id"].replace_strict(split.vocabulary.items, return_dtype=pl.Int64).to_numpy()
        found = named_false_negatives(split.train.users[used["row"].to_numpy()], items, split, truth)
        rows.append({"way": way, "false_negatives": found.share, "measured": found.count})
    return pl.DataFrame(rows, schema={"way": pl.String, "false_negatives": pl.Float64, "measured": pl.Int64})
