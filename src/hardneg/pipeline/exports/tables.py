"""Embeddings of runs and vectors of negatives as Parquet, npy and safetensors, with tables of original ids."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.pipeline.exports.inputs import ExportInputs, pair_table
from hardneg.sampling.mined import MinedNegatives
from hardneg.stage import Draft
from hardneg.types import Floats

EMBEDDING = "embedding"


def write_embeddings_parquet(draft: Draft, given: ExportInputs) -> None:
    """Write users.parquet (user_id, embedding) and items.parquet (item_id, title, embedding)."""
    for name, (table, vectors) in _embeddings(draft, given).items():
        table.with_columns(_vector_column(vectors)).write_parquet(draft.folder / f"{name}.parquet")


def write_embeddings_npy(draft: Draft, given: ExportInputs) -> None:
    """Write users.npy and items.npy, and the ids of their rows in users.parquet and items.parquet."""
    for name, (table, vectors) in _embeddings(draft, given).items():
        np.save(draft.folder / f"{name}.npy", vectors)
        table.write_parquet(draft.folder / f"{name}.parquet")


def write_embeddings_safetensors(draft: Draft, given: ExportInputs) -> None:
    """Write embeddings.safetensors (users, items), and the ids of their rows in users.parquet and items.parquet."""
    tables = _embeddings(draft, given)
    _save_tensors(draft, "embeddings", {name: vectors for name, (_, vectors) in tables.items()})
    for name, (table, _) in tables.items():
        table.write_parquet(draft.folder / f"{name}.parquet")


def write_negatives_parquet(draft: Draft, given: ExportInputs) -> None:
    """Write negatives.parquet, a row per negative, and vectors.parquet, a row per train pair."""
    split = given.read_split()
    negatives, pairs = given.read_negatives(split), pair_table(split)
    table = read_parquet(given.source / "negatives.parquet")
    titles = split.texts.select(name for name in (c.ITEM_ID, c.TITLE) if name in split.texts.columns)
    first = ["user_id", "positive_item_id", "positive_title", c.ITEM_ID, c.TITLE]
    table = table.join(titles, on=c.ITEM_ID, how="left", maintain_order="left")
    if "positive_title" in pairs.columns:
        table = table.with_columns(pairs["positive_title"].gather(table["row"]))
    order = [name for name in first if name in table.columns]
    table.select(*order, pl.exclude("row", *order)).write_parquet(draft.folder / "negatives.parquet")
    vectors = _vector_column(np.asarray(negatives.vectors, np.float32))
    pairs.with_columns(vectors).write_parquet(draft.folder / "vectors.parquet")
    _count_negatives(draft, negatives, len(table))


def write_negatives_npy(draft: Draft, given: ExportInputs) -> None:
    """Write vectors.npy, and the ids of its rows in pairs.parquet."""
    split = given.read_split()
    negatives = given.read_negatives(split)
    np.save(draft.folder / "vectors.npy", np.asarray(negatives.vectors))
    pair_table(split).write_parquet(draft.folder / "pairs.parquet")
    _count_negatives(draft, negatives)


def write_negatives_safetensors(draft: Draft, given: ExportInputs) -> None:
    """Write vectors.safetensors (negatives), and the ids of its rows in pairs.parquet."""
    split = given.read_split()
    negatives = given.read_negatives(split)
    _save_tensors(draft, "vectors", {"negatives": np.asarray(negatives.vectors)})
    pair_table(split).write_parquet(draft.folder / "pairs.parquet")
    _count_negatives(draft, negatives)


def _embeddings(draft: Draft, given: ExportInputs) -> dict[str, tuple[pl.DataFrame, Floats]]:
    """Return id tables and pooled embeddings of users and items, and note their sizes."""
    embeddings = given.run.require_embeddings(given.source)
    users, items = embeddings.final_users.numpy(), embeddings.final_items.numpy()
    draft.notes |= {"users": len(users), "items": len(items), "size": items.shape[1]}
    return {"users": (given.user_table(), users), "items": (given.item_table(), items)}


def _count_negatives(draft: Draft, negatives: MinedNegatives, rows: int | None = None) -> None:
    draft.notes |= {} if rows is None else {"negatives": rows}
    draft.notes |= {"pairs": len(negatives.vectors), "pairs without a vector": int((~negatives.present).sum())}
    draft.notes |= {"size": negatives.vectors.shape[1], "source": negatives.source}


def _vector_column(vectors: Floats) -> pl.Series:
    """Return rows (n, size) as a column of float32 arrays, null where a row is NaN."""
    column = pl.Series(EMBEDDING, vectors, dtype=pl.Array(pl.Float32, vectors.shape[1]))
    missing = pl.Series(np.isnan(vectors[:, 0]), dtype=pl.Boolean)
    return column.to_frame().select(pl.when(~missing).then(pl.col(EMBEDDING)))[EMBEDDING]


def _save_tensors(draft: Draft, name: str, tensors: Mapping[str, NDArray[np.generic]]) -> None:
    from safetensors.numpy import save_file

    contiguous = {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()}
    save_file(contiguous, draft.folder / f"{name}.safetensors")
