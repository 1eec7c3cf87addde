"""Controls: vectors that a method which learnt to write hard negatives has to beat, in the form it writes them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.mining.labels import Labels
from hardneg.sampling.mined import MinedNegatives
from hardneg.types import Indices, unit_rows

BLOCK = 8192


def shuffled(mined: MinedNegatives, order: Indices) -> MinedNegatives:
    """Every pair row gets the vector and the items of another one: row r those of row order[r], missing ones included.

    order: (pairs,) a permutation. The vectors are the same ones; what is lost is whose they are. An item may have come
    to a user who has it.
    """
    return MinedNegatives(mined.items[order], mined.vectors[order], f"{mined.source}, shuffled among pairs")


def shuffled_table(table: pl.DataFrame, order: Indices, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """The table of a negatives folder after `shuffled`: text and item at their new pair, without the old likeness."""
    rows = np.argsort(order)[table["row"].to_numpy()]
    user_ids, item_ids = (pl.Series(ids, dtype=pl.String) for ids in (vocabulary.user_ids, vocabulary.item_ids))
    moved = table.with_columns(
        pl.Series("row", rows, dtype=pl.Int64),
        user_ids.gather(train.users[rows]).alias(c.USER_ID),
        item_ids.gather(train.items[rows]).alias("positive_item_id"),
        similarity=pl.lit(None, dtype=pl.Float64),
        reasoning=pl.lit("written for another pair"),
    )
    return moved.sort("row", maintain_order=True)


def positives_control(given: Labels, train: Interactions) -> MinedNegatives:
    """e_hard is the embedding of the pair's own positive item, by the MixGCF behind the labels."""
    return _without_items(
        unit_rows(given.items.astype(np.float32))[train.items].astype(np.float16), "the positive's embedding"
    )


def labels_control(given: Labels) -> MinedNegatives:
    """e_hard is the label itself: what a model would write that had learnt everything."""
    vectors = np.empty(given.vectors.shape, np.float16)
    for start in range(0, len(vectors), BLOCK):
        vectors[start : start + BLOCK] = unit_rows(np.asarray(given.vectors[start : start + BLOCK], np.float32))
    return _without_items(vectors, "MixGCF's hard negatives, the labels")


def _without_items(vectors: NDArray[np.float16], source: str) -> MinedNegatives:
    return MinedNegatives(np.full((len(vectors), 1), -1, np.int64), vectors, source)
