"""Semantic negatives of every training pair: items, texts and vectors. Stored in a `negatives/` folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.errors import DataError
from hardneg.stage import Draft
from hardneg.types import Flags, Floats, Indices

KIND = "negatives"
BLOCK = 1024
SCHEMA = {
    "row": pl.Int64,
    "user_id": pl.String,
    "positive_item_id": pl.String,
    "negative_text": pl.String,
    "item_id": pl.String,
    "similarity": pl.Float64,
    "reasoning": pl.String,
    "source": pl.String,
}


@dataclass(frozen=True)
class MinedNegatives:
    """Semantic negatives, one row per training pair.

    items: (pairs, n) catalogue items, padded with -1. vectors: (pairs, size) float16, the encoded text of the negative
    or the mean of several; NaN where a pair has none. source: description of their origin, for tables.
    """

    items: Indices
    vectors: NDArray[np.float16]
    source: str

    @property
    def present(self) -> Flags:
        """True where a pair has a vector, (pairs,)."""
        return ~np.isnan(self.vectors[:, 0])

    def vectors_of(self, pair_rows: Indices) -> Floats:
        """Return the vectors of some pairs, (rows, size) float32; reads only these rows of a memory-mapped file.

        The vectors are NaN where missing, and for extra positives, whose pair indices follow the training pairs.
        """
        in_train = pair_rows < len(self.vectors)
        if in_train.all():
            return np.asarray(self.vectors[pair_rows], dtype=np.float32)
        vectors = np.full((len(pair_rows), self.vectors.shape[1]), np.nan, np.float32)
        vectors[in_train] = self.vectors[pair_rows[in_train]]
        return vectors

    def items_of(self, pair_rows: Indices) -> Indices:
        """Return the items of some pairs, (rows, n), padded with -1; -1 also for extra positives."""
        in_train = pair_rows < len(self.items)
        return np.where(in_train[:, None], self.items[np.where(in_train, pair_rows, 0)], -1)


def mean_vectors(which: Indices, table: Floats) -> NDArray[np.float16]:
    """Return the mean vector of each row (eq. 5 of HNLMRec), (pairs, size) float16, NaN for a row without any.

    which: (pairs, n) rows of the table, padded with -1. table: (rows, size).
    """
    size = table.shape[1]
    vectors = np.full((len(which), size), np.nan, np.float16)
    for start in range(0, len(which), BLOCK):
        rows = which[start : start + BLOCK]
        present = rows >= 0
        weight = present / np.maximum(present.sum(axis=1, keepdims=True), 1)
        mean = np.einsum("bn,bnd->bd", weight, np.nan_to_num(table[rows]))
        vectors[start : start + BLOCK] = np.where(present.any(axis=1, keepdims=True), mean, np.nan)
    return vectors


def id_columns(train: Interactions, vocabulary: Vocabulary, rows: Indices) -> dict[str, pl.Series]:
    """Return the columns user_id and positive_item_id of pairs (rows,)."""
    user_ids, item_ids = (pl.Series(ids, dtype=pl.String) for ids in (vocabulary.user_ids, vocabulary.item_ids))
    return {"user_id": user_ids.gather(train.users[rows]), "positive_item_id": item_ids.gather(train.items[rows])}


def write_negatives(
    draft: Draft, mined: MinedNegatives, table: pl.DataFrame | None = None, rejected: pl.DataFrame | None = None
) -> None:
    """Write negatives.parquet, rejected.parquet and embeddings.npy.

    table: columns of SCHEMA, one row per pair and negative; None where negatives are no items. rejected: user_id,
    positive_item_id, item_id, similarity and reason of candidates that ranked higher.
    """
    missing = int((~mined.present).sum())
    draft.notes |= {"source": mined.source, "pairs": len(mined.items), "pairs without a vector": missing}
    np.save(draft.folder / "embeddings.npy", mined.vectors)
    write_negatives_tables(draft, table, rejected)


def write_negatives_tables(
    draft: Draft, table: pl.DataFrame | None = None, rejected: pl.DataFrame | None = None
) -> None:
    """Write negatives.parquet and rejected.parquet, which are empty without a table."""
    columns = [pl.col(name).cast(kind) for name, kind in SCHEMA.items()]
    negatives = pl.DataFrame(schema=SCHEMA) if table is None else table.select(columns)
    negatives.write_parquet(draft.folder / "negatives.parquet")
    rejected = pl.DataFrame(schema={"user_id": pl.String}) if rejected is None else rejected
    rejected.write_parquet(draft.folder / "rejected.parquet")


def read_negatives(folder: Path, vocabulary: Vocabulary, n_pairs: int) -> MinedNegatives:
    """Read a negatives folder with memory-mapped vectors. Raises DataError where it does not fit `n_pairs`."""
    manifest = artifacts.read_manifest(folder, KIND)
    try:
        vectors = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'embeddings.npy'} cannot be read ({error}); build the folder again") from None
    if len(vectors) != n_pairs:
        raise DataError(
            f"found {len(vectors):,} pairs in {folder}, expected {n_pairs:,} as in the split; build it from this split"
        )
    table = read_parquet(folder / "negatives.parquet").filter(pl.col("item_id").is_not_null())
    return MinedNegatives(_items_by_row(table, vocabulary, n_pairs), vectors, manifest["notes"]["source"])


def _items_by_row(table: pl.DataFrame, vocabulary: Vocabulary, n_pairs: int) -> Indices:
    pair_rows = table["row"].to_numpy()
    place = table.select(pl.int_range(pl.len()).over("row").alias("place"))["place"].to_numpy()
    items = np.full((n_pairs, int(place.max()) + 1 if len(place) else 1), -1, np.int64)
    items[pair_rows, place] = table["item_id"].replace_strict(vocabulary.items, return_dtype=pl.Int64).to_numpy()
    return items
