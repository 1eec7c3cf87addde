"""Controls: negatives that lack one ingredient of semantic or synthesized negatives."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.mining.labels import LabelVectors
from hardneg.sampling.mined import MinedNegatives, id_columns
from hardneg.types import Indices, unit_rows

BLOCK = 8192


def random_control(mined: MinedNegatives, rng: np.random.Generator) -> MinedNegatives:
    """Replace every distinct vector by a Gaussian vector of the same norm. Missing vectors stay missing.

    Pairs with equal vectors get equal replacements, so that the control lacks only the text.
    """
    raw = np.ascontiguousarray(mined.vectors)
    # Rows are compared as bytes, which is much faster than sorting 384 columns.
    as_bytes = raw.view(np.dtype((np.void, raw.dtype.itemsize * raw.shape[1]))).ravel()
    _, firsts, which = np.unique(as_bytes, return_index=True, return_inverse=True)
    distinct = raw[firsts].astype(np.float32)
    noise = rng.standard_normal(distinct.shape, np.float32)
    noise *= np.linalg.norm(distinct, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
    vectors = noise.astype(np.float16)[which]
    return MinedNegatives(np.full_like(mined.items, -1), vectors, f"random vectors, norms of {mined.source}")


def shuffled_control(mined: MinedNegatives, order: Indices) -> MinedNegatives:
    """Assign the vector and the items of pair order[r] to pair r, also where they are missing.

    order: (pairs,), a permutation. The control lacks the relation of vectors and pairs. A user may get an item of their
    own history.
    """
    return MinedNegatives(mined.items[order], mined.vectors[order], f"{mined.source}, shuffled among pairs")


def shuffle_table(table: pl.DataFrame, order: Indices, train: Interactions, vocabulary: Vocabulary) -> pl.DataFrame:
    """Return the table of a negatives folder after `shuffled_control`, without the similarities."""
    rows = np.argsort(order)[table["row"].to_numpy()]
    shuffled = table.with_columns(
        pl.Series("row", rows, dtype=pl.Int64),
        **id_columns(train, vocabulary, rows),
        similarity=pl.lit(None, dtype=pl.Float64),
        reasoning=pl.lit("generated for another pair"),
    )
    return shuffled.sort("row", maintain_order=True)


def positives_control(labels: LabelVectors, train: Interactions) -> MinedNegatives:
    """Use the embedding of the positive item as e_hard, from the MixGCF run of the labels."""
    embeddings = unit_rows(labels.items.astype(np.float32))
    return _without_items(embeddings[train.items].astype(np.float16), "the positive's embedding")


def labels_control(labels: LabelVectors) -> MinedNegatives:
    """Use the label itself as e_hard, the upper bound of a model that is trained on labels."""
    vectors = np.empty(labels.vectors.shape, np.float16)
    for start in range(0, len(vectors), BLOCK):
        vectors[start : start + BLOCK] = unit_rows(np.asarray(labels.vectors[start : start + BLOCK], np.float32))
    return _without_items(vectors, "MixGCF's hard negatives, the labels")


def _without_items(vectors: NDArray[np.float16], source: str) -> MinedNegatives:
    return MinedNegatives(np.full((len(vectors), 1), -1, np.int64), vectors, source)
