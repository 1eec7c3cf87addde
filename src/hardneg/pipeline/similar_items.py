"""Items nearest to one item, by the embeddings of a run or by encoded texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.artifacts import read_manifest
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.inference import read_run
from hardneg.pipeline.training import RUN
from hardneg.text import ItemVectors, text_vectors
from hardneg.text.item_vectors import OWN
from hardneg.types import Flags, Floats, unit_rows

SUGGESTED = 5
"""Number of items that a message suggests."""


@dataclass(frozen=True)
class SimilarItems:
    """The items nearest to one item.

    item_id, title: the item. by: description of the vectors. table: rank, item_id, title, similarity (cosine), nearest
    first, ties by lower item. without: number of items that have no direction, which are left out.
    """

    item_id: str
    title: str
    by: str
    table: pl.DataFrame
    without: int


def find_similar_items(run_dir: Path, item_id: str, k: int, vectors_path: Path | None = None) -> SimilarItems:
    """Return the k items with the highest cosine to an item.

    vectors_path: vectors folder of the run's split, or a file of own vectors (`ItemVectors`); without it, the pooled
    embeddings of the run are compared. Raises DataError where the item is unknown or has no vector, ConfigError where the
    vectors are of another split.
    """
    run, items = read_run(run_dir), read_parquet(run_dir / "items.parquet")
    titles = items[c.TITLE].fill_null("") if c.TITLE in items.columns else pl.repeat("", len(items), eager=True)
    item = run.vocabulary.items.get(item_id)
    if item is None:
        raise DataError(f"{run_dir} has no item {item_id!r}, expected an item_id; {_suggest(item_id, items, titles)}")
    if vectors_path is None:
        vectors, by = run.require_embeddings(run_dir).final_items.numpy(), "item embeddings of the run"
    elif vectors_path.is_file():
        vectors, by = ItemVectors(vectors_path).read(run.vocabulary.item_ids), OWN
    else:
        vectors, by = _text_vectors_of(run_dir, vectors_path)
    has_direction, cosines = _cosines_with(vectors, item)
    if not has_direction[item]:
        raise DataError(
            f"item {item_id!r} has no vector to compare by, expected one; leave --vectors out, or encode its text"
        )
    has_direction[item] = False
    others = np.flatnonzero(has_direction)
    nearest = others[(-cosines[others]).argsort(kind="stable")[:k]]
    columns = {
        "rank": np.arange(1, len(nearest) + 1),
        c.ITEM_ID: items[c.ITEM_ID].gather(nearest),
        c.TITLE: titles.gather(nearest),
        "similarity": cosines[nearest],
    }
    return SimilarItems(item_id, titles[item], by, pl.DataFrame(columns), len(items) - 1 - len(others))


def _cosines_with(vectors: Floats, item: int) -> tuple[Flags, Floats]:
    """Return which rows have a direction, and the cosine of each with one row; NaN where there is none."""
    rows = unit_rows(np.asarray(vectors, np.float32))
    has_direction = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
    return np.asarray(has_direction), np.asarray(rows @ rows[item])


def _text_vectors_of(run_dir: Path, vectors_dir: Path) -> tuple[Floats, str]:
    """Return the item vectors of a folder of the run's split, and their source."""
    inputs = [
        read_manifest(folder, kind)["inputs"] for folder, kind in ((run_dir, RUN), (vectors_dir, text_vectors.KIND))
    ]
    if inputs[0]["training data"] != inputs[1]["training data"]:
        raise ConfigError(f"{vectors_dir} was made from another split than {run_dir}; encode the texts of its split")
    vectors = text_vectors.read_text_vectors(vectors_dir)
    return vectors.items, f"text, {vectors.source}"


def _suggest(words: str, items: pl.DataFrame, titles: pl.Series) -> str:
    """Return a phrase that names items whose title contains some words, or says that none does."""
    matching = items[c.ITEM_ID].filter(titles.str.to_lowercase().str.contains(words.lower(), literal=True))
    shown = ", ".join(map(repr, matching[:SUGGESTED]))
    more = f" and {len(matching) - SUGGESTED:,} more" if len(matching) > SUGGESTED else ""
    return f"its title contains this: {shown}{more}" if shown else "no title contains it either"
