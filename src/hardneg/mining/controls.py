"""Controls: vectors that a method which learnt to write hard negatives has to beat, in the form it writes them."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.mining.labels import LabelVectors
from hardneg.sampling.mined import MinedNegatives
from hardneg.types import Indices, unit_rows

BLOCK = 8192


def random_control(mined: MinedNegatives, rng: np.random.Generator) -> MinedNegatives:
    """The control: every distinct vector becomes a Gaussian one of its norm; missing stays missing.

    Pairs that shared a vector share its replacement, so that what the control lacks is the text and nothing else.
    """
    raw = np.ascontiguousarray(mined.vectors)
    # Rows compared as bytes: sorting 384 columns would take far longer.
    as_bytes = raw.view(np.dtype((np.void, raw.dtype.itemsize * raw.shape[1]))).ravel()
    _, firsts, which = np.unique(as_bytes, return_index=True, return_inverse=True)
    distinct = raw[firsts].astype(np.float32)
    noise = rng.standard_normal(distinct.shape, np.float32)
    noise *= np.linalg.norm(distinct, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = noise.astype(np.float16)[which]
    return MinedNegatives(np.full_like(mined.items, -1), vectors, f"random vectors, norms of {mined.source}")


def shuffled_control(mined: MinedNegatives, order: Indices) -> MinedNegatives:
    """Every pair row gets the vector and the items of another one: row r those of row order[r], missing ones included.

    order: (pairs,) a permutation. The vectors are the same ones; what is lost is whose they are. An item may have come
    to a user who has it.
    """
    return MinedNegatives(mined.items[order], mined.vectors[order], f"{mined.source}, shuffled among pairs")


def shuffle_table(table: pl.DataFrame, order: Indices, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """The table of a negatives folder after `shuffled_control`: text and item at their new pair, without the old likeness."""
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


def positives_control(given: LabelVectors, train: Interactions) -> MinedNegatives:
    """e_hard is the embedding of the pair's own positive item, by the MixGCF behind the labels."""
    return _without_items(
        unit_rows(given.items.astype(np.float32))[train.items].astype(np.float16), "the positive's embedding"
    )


def labels_control(given: LabelVectors) -> MinedNegatives:
    """e_hard is the label itself: what a model would write that had learnt everything."""
    vectors = np.empty(given.vectors.shape, np.float16)
    for start in range(0, len(vectors), BLOCK):
        vectors[start : start + BLOCK] = unit_rows(np.asarray(given.vectors[start : start + BLOCK], np.float32))
    return _without_items(vectors, "MixGCF's hard negatives, the labels")


def _without_items(vectors: NDArray[np.float16], source: str) -> MinedNegatives:
    return MinedNegatives(np.full((len(vectors), 1), -1, np.int64), vectors, source)
