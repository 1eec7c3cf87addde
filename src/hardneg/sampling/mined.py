"""Mined inputs of samplers: semantic negatives of training pairs, and neighbours of items, stored in folders."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg import artifacts
from hardneg.data.dataset import read_parquet
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split, Vocabulary
from hardneg.errors import ConfigError, DataError
from hardneg.stage import Draft
from hardneg.storage import read_array
from hardneg.types import Flags, Floats, Indices

MOSTLY_EMPTY = "mostly empty"
"""Note of a folder most of whose rows are missing."""
MOST_MISSING = 0.5
"""Share of missing rows above which training refuses a folder."""
KIND, NEIGHBOURS = "negatives", "neighbours"
"""Kinds of the two folders."""
NEIGHBOURS_TABLE = "neighbours.npy"
REJECTED = "rejected"
"""Note of a negatives folder: number of rejected items by reason."""
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

NeighbourSource = Literal["text", "co-occurrence", "random"]
"""Similarity that defines neighbours; "random" is the control."""


@dataclass(frozen=True)
class ItemNeighbours:
    """Neighbours of every item.

    items: (n_items, k), nearest first, padded with -1. source: description of the similarity, for tables.
    """

    items: Indices
    source: str

    @cached_property
    def counts(self) -> Indices:
        """Number of neighbours of each item, (n_items,)."""
        return np.asarray((self.items >= 0).sum(axis=1))

    def nearest(self, k: int) -> ItemNeighbours:
        """Return the k nearest neighbours of each item. Raises ConfigError where fewer are stored."""
        if k > self.items.shape[1]:
            raise ConfigError(
                f"found {self.items.shape[1]} neighbours per item, expected {k}; find more with "
                f"`hardneg neighbours find --k {k}`, or use fewer"
            )
        return ItemNeighbours(self.items[:, :k], self.source)

    def draw(self, items: Indices, units: Floats) -> Indices:
        """Draw one neighbour of each item, all equally likely. An item without neighbours is returned itself.

        units: random numbers in [0, 1), of a shape that broadcasts with `items`.
        """
        counts = self.counts[items]
        neighbours = self.items[items, (units * counts).astype(np.int64)]
        return np.asarray(np.where(counts > 0, neighbours, items))


def require_most(present: Flags, rows: str, part: str, *, allow_empty: bool) -> None:
    """Raise ConfigError where most rows lack a part, which would leave most of the training as it is without the folder."""
    if not allow_empty and (warning := describe_missing(int((~present).sum()), len(present), rows, part)):
        raise ConfigError(
            f"{warning}; make them again from more texts or pairs, or accept them: --allow-empty, or allow_empty of the sampler"
        )


def describe_missing(missing: int, total: int, rows: str, part: str) -> str:
    """Return a warning where most rows lack a part, else ""."""
    if not total or missing / total <= MOST_MISSING:
        return ""
    return f"{missing / total:.1%} of {total:,} {rows} have no {part}, expected at most {MOST_MISSING:.0%}"


def _missing_note(missing: int, total: int, rows: str, part: str) -> dict[str, str]:
    warning = describe_missing(missing, total, rows, part)
    return {MOSTLY_EMPTY: f"{warning}; `hardneg train` refuses them without --allow-empty"} if warning else {}


def write_neighbours(draft: Draft, neighbours: ItemNeighbours) -> None:
    """Write neighbours.npy."""
    missing, total = int((neighbours.counts == 0).sum()), len(neighbours.items)
    draft.notes |= {"source": neighbours.source, "items": total, "items without a neighbour": missing}
    draft.notes |= _missing_note(missing, total, "items", "neighbour")
    np.save(draft.folder / NEIGHBOURS_TABLE, neighbours.items)


def read_neighbours(folder: Path, n_items: int) -> ItemNeighbours:
    """Read a neighbours folder. Raises DataError where it is not of a catalogue of `n_items` items."""
    source = artifacts.read_manifest(folder, NEIGHBOURS)["notes"]["source"]
    items = np.array(read_array(folder / NEIGHBOURS_TABLE))
    if len(items) != n_items or (items.size and not -1 <= items.min() <= items.max() < n_items):
        raise DataError(
            f"found neighbours of {len(items):,} items in {folder}, expected {n_items:,} as in the split; build them from "
            "this split"
        )
    return ItemNeighbours(items, source)


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
    if rejected is not None:
        draft.notes[REJECTED] = dict(rejected["reason"].value_counts().sort("reason").rows())
    draft.notes |= {"source": mined.source, "pairs": len(mined.items), "pairs without a vector": missing}
    draft.notes |= _missing_note(missing, len(mined.items), "pairs", "vector")
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
    vectors = read_array(folder / "embeddings.npy")
    if len(vectors) != n_pairs:
        raise DataError(
            f"found {len(vectors):,} pairs in {folder}, expected {n_pairs:,} as in the split; build it from this split"
        )
    table = read_parquet(folder / "negatives.parquet").filter(pl.col("item_id").is_not_null())
    place = table.select(pl.int_range(pl.len()).over("row").alias("place"))["place"].to_numpy()
    items = np.full((n_pairs, int(place.max()) + 1 if len(place) else 1), -1, np.int64)
    indices = table["item_id"].replace_strict(vocabulary.items, return_dtype=pl.Int64).to_numpy()
    items[table["row"].to_numpy(), place] = indices
    return MinedNegatives(items, vectors, manifest["notes"]["source"])


def folder_kind(folder: Path) -> str:
    """Return "neighbours" where the manifest says so, otherwise "negatives"."""
    return NEIGHBOURS if artifacts.kind_at(folder) == NEIGHBOURS else KIND


def read_sampler_input(folder: Path, split: Split) -> MinedNegatives | ItemNeighbours:
    """Read a negatives or a neighbours folder. Raises DataError where it is neither or does not fit the split."""
    if folder_kind(folder) == NEIGHBOURS:
        return read_neighbours(folder, split.train.n_items)
    return read_negatives(folder, split.vocabulary, len(split.train))
