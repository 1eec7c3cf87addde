"""Negatives from text, one row a train pair: catalogue items, texts, vectors. On disk a `negatives/` folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
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
    """Mined negatives of every pair row.

    items: (pairs, n) catalogue items, -1 where there is none. vectors: (pairs, size) float16, the encoded negative
    text (the mean of several); a row of NaN where there is none, so that a missing vector can never pass as data.
    source: what wrote them, for tables and pages.
    """

    items: Indices
    vectors: NDArray[np.float16]
    source: str

    @property
    def present(self) -> Flags:
        """(pairs,) True where a pair has a vector."""
        return ~np.isnan(self.vectors[:, 0])

    def vectors_of(self, pair_rows: Indices) -> Floats:
        """(rows, size) float32, NaN where missing; reads only these rows of a memory-mapped file.

        A row beyond the train pairs is that of an extra positive, which has none.
        """
        known = pair_rows < len(self.vectors)
        if known.all():
            return np.asarray(self.vectors[pair_rows], dtype=np.float32)
        found = np.full((len(pair_rows), self.vectors.shape[1]), np.nan, np.float32)
        found[known] = self.vectors[pair_rows[known]]
        return found

    def items_of(self, pair_rows: Indices) -> Indices:
        """(rows, n) catalogue items, -1 where there is none, as for every row beyond the train pairs."""
        known = pair_rows < len(self.items)
        return np.where(known[:, None], self.items[np.where(known, pair_rows, 0)], -1)


def mean_vectors(which: Indices, table: Floats) -> NDArray[np.float16]:
    """Mean of each row's vectors (eq. 5 pools several negatives so): float16, NaN for a row without any.

    which: (pairs, n) rows of the table, -1 for none. table: (rows, size).
    """
    size = table.shape[1]
    vectors = np.full((len(which), size), np.nan, np.float16)
    for start in range(0, len(which), BLOCK):
        chosen = which[start : start + BLOCK]
        taken = chosen >= 0
        weight = taken / np.maximum(taken.sum(axis=1, keepdims=True), 1)
        mean = np.einsum("bn,bnd->bd", weight, np.nan_to_num(table[chosen]))
        vectors[start : start + BLOCK] = np.where(taken.any(axis=1, keepdims=True), mean, np.nan)
    return vectors


def write_negatives(
    draft: Draft, mined: MinedNegatives, table: pl.DataFrame | None = None, rejected: pl.DataFrame | None = None
) -> None:
    """Write negatives.parquet, rejected.parquet and embeddings.npy.

    table: columns of SCHEMA, one row a pair and negative; none where the negatives are no items. rejected: user_id,
    positive_item_id, item_id, similarity, reason, of candidates that ranked above the chosen ones.
    """
    missing = int((~mined.present).sum())
    draft.notes |= {"source": mined.source, "pairs": len(mined.items), "pairs without a vector": missing}
    np.save(draft.folder / "embeddings.npy", mined.vectors)
    write_negatives_tables(draft, table, rejected)


def write_negatives_tables(
    draft: Draft, table: pl.DataFrame | None = None, rejected: pl.DataFrame | None = None
) -> None:
    """Write negatives.parquet and rejected.parquet, empty where there is no table."""
    columns = [pl.col(name).cast(kind) for name, kind in SCHEMA.items()]
    chosen = pl.DataFrame(schema=SCHEMA) if table is None else table.select(columns)
    chosen.write_parquet(draft.folder / "negatives.parquet")
    refused = pl.DataFrame(schema={"user_id": pl.String}) if rejected is None else rejected
    refused.write_parquet(draft.folder / "rejected.parquet")


def read_negatives(folder: Path, vocabulary: Vocabulary, n_pairs: int) -> MinedNegatives:
    """Read a negatives folder; the vectors stay on disk, memory-mapped."""
    manifest = artifacts.read_manifest(folder, KIND)
    try:
        vectors = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / 'embeddings.npy'} cannot be read ({error}); mine again") from None
    if len(vectors) != n_pairs:
        raise DataError(f"{folder} has {len(vectors):,} pair rows, the split {n_pairs:,}; mine from this split again")
    table = read_parquet(folder / "negatives.parquet").filter(pl.col("item_id").is_not_null())
    return MinedNegatives(_items_by_row(table, vocabulary, n_pairs), vectors, manifest["notes"]["source"])


def _items_by_row(table: pl.DataFrame, vocabulary: Vocabulary, n_pairs: int) -> Indices:
    pair_rows = table["row"].to_numpy()
    place = table.select(pl.int_range(pl.len()).over("row").alias("place"))["place"].to_numpy()
    numbers = table["item_id"].replace_strict(vocabulary.items, return_dtype=pl.Int64).to_numpy()
    items = np.full((n_pairs, int(place.max()) + 1 if len(place) else 1), -1, np.int64)
    items[pair_rows, place] = numbers
    return items
