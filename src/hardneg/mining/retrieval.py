"""Similar items: negatives by retrieval, without an LLM, and neighbours by text, by co-occurrence or at random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from numpy.random import Generator
from pydantic import Field
from scipy.sparse import csr_array, diags_array

from hardneg.config import Config, PerRow
from hardneg.data.interactions import Interactions
from hardneg.data.products import UNDER_ANOTHER_ID
from hardneg.data.split import Vocabulary
from hardneg.sampling.mined import SCHEMA, ItemNeighbours, MinedNegatives, id_columns, mean_vectors
from hardneg.types import Floats, Indices, Progress, block_slices

BLOCK = 1024
FINE, OWNED, DUPLICATE, OTHER_ID, PADDING = range(5)
REASONS = ("", "the user has it", "text as good as the positive's", UNDER_ANOTHER_ID)
"""Reasons for which a high-ranking item is rejected, indexed by FINE .. OTHER_ID."""


class RetrievalConfig(Config):
    """Settings of retrieval."""

    n: PerRow = 1
    """Negatives per pair."""
    pool: PerRow = 50
    """Number of text neighbours of the positive that are ranked."""
    profile_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the cosine with the user's profile, 0 to 1; the rest is the weight of the cosine with the positive."""
    duplicate: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Cosine with the positive from which an item is rejected as a duplicate of the positive."""


@dataclass(frozen=True)
class Retrieval:
    """Retrieved items of every pair.

    items: (pairs, n), padded with -1. similarity: (pairs, n) scores. rejected: row, item, similarity and reason of
    items that ranked higher but are no negatives.
    """

    items: Indices
    similarity: Floats
    rejected: pl.DataFrame


def retrieve_items(
    train: Interactions,
    owned: Interactions,
    item_vectors: Floats,
    profile_vectors: Floats,
    options: RetrievalConfig,
    progress: Progress | None = None,
) -> Retrieval:
    """Return the best text neighbours of the positive of every training pair that the user does not have.

    The score is (1 - share) cos(positive, item) + share cos(profile, item), or the cosine with the positive where the
    profile is missing. owned: what users have, under any id (`Split.owned`). item_vectors: (n_items, size). profile_vectors: (n_users, size). Both have unit length, or are
    NaN without a text.
    """
    neighbours, nearness = text_neighbours(item_vectors, options.pool)
    profiles = np.nan_to_num(profile_vectors)
    has_profile = ~np.isnan(profile_vectors[:, :1])
    items = np.full((len(train), options.n), -1, np.int64)
    similarity = np.full((len(train), options.n), np.nan, np.float32)
    rejected = []
    for rows in block_slices(len(train), BLOCK):
        users, positives = train.users[rows], train.items[rows]
        pool, near = neighbours[positives], nearness[positives]
        profile_cosine = np.einsum("bd,bpd->bp", profiles[users], np.nan_to_num(item_vectors[pool]))
        share = options.profile_share * has_profile[users]
        score = np.where(pool >= 0, (1 - share) * near + share * profile_cosine, -np.inf)
        order = (-score).argsort(axis=1, kind="stable")
        pool, near, score = (np.take_along_axis(x, order, axis=1) for x in (pool, near, score))
        has, has_other_id = (pairs.contains(users[:, None], np.maximum(pool, 0)) for pairs in (train, owned))
        conditions, codes = (
            [pool < 0, has, has_other_id, near >= options.duplicate],
            [PADDING, OWNED, OTHER_ID, DUPLICATE],
        )
        reason = np.select(conditions, codes, FINE)
        place = np.cumsum(reason == FINE, axis=1)
        chosen = np.nonzero((reason == FINE) & (place <= options.n))
        cells = (rows.start + chosen[0], place[chosen] - 1)
        items[cells], similarity[cells] = pool[chosen], score[chosen]
        above = np.nonzero((reason != FINE) & (place < options.n) & (pool >= 0))
        columns = {"row": rows.start + above[0], "item": pool[above], "similarity": score[above].astype(float)}
        rejected.append(pl.DataFrame(columns | {"reason": np.array(REASONS)[reason[above]]}))
        if progress is not None:
            progress("retrieving negatives", min(rows.stop, len(train)), len(train))
    return Retrieval(items, similarity, pl.concat(rejected))


def text_neighbours(vectors: Floats, k: int) -> tuple[Indices, Floats]:
    """Return the k nearest other items by cosine, (n_items, k) padded with -1, and their cosines.

    vectors: (n_items, size), unit length, NaN without a text. An item without a text neither has nor is a neighbour.
    """
    n, k = len(vectors), min(k, len(vectors) - 1)
    has_text = ~np.isnan(vectors[:, 0])
    filled = np.nan_to_num(vectors).astype(np.float32)
    neighbours, nearness = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for rows in block_slices(n, BLOCK):
        cosines = filled[rows] @ filled.T
        cosines[:, ~has_text] = -np.inf
        cosines[np.arange(len(cosines)), np.arange(rows.start, rows.start + len(cosines))] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(best, (-np.take_along_axis(cosines, best, 1)).argsort(1, kind="stable"), 1)
        near = np.take_along_axis(cosines, best, axis=1)
        usable = np.isfinite(near) & has_text[rows][:, None]
        neighbours[rows], nearness[rows] = np.where(usable, best, -1), np.where(usable, near, -np.inf)
    return neighbours, nearness


def tabulate_retrieval(
    retrieval: Retrieval,
    train: Interactions,
    vocabulary: Vocabulary,
    texts: list[str],
    item_vectors: Floats,
    source: str,
    by: str = "text",
) -> tuple[MinedNegatives, pl.DataFrame, pl.DataFrame]:
    """Return the contents of a negatives folder: negatives, their table, and the table of rejected items.

    by: what nearness was measured in, for the reasoning.
    """
    rows, places = np.nonzero(retrieval.items >= 0)
    chosen = retrieval.items[rows, places]
    item_ids = pl.Series(vocabulary.item_ids, dtype=pl.String)
    table = pl.DataFrame(
        {
            "row": rows,
            **id_columns(train, vocabulary, rows),
            "negative_text": np.array(texts, dtype=object)[chosen],
            "item_id": item_ids.gather(chosen),
            "similarity": retrieval.similarity[rows, places].astype(float),
            "reasoning": f"near the positive and the profile in {by}, not among the user's train items",
            "source": source,
        },
        schema_overrides=SCHEMA,
    )
    rejected = retrieval.rejected.select(
        **id_columns(train, vocabulary, retrieval.rejected["row"].to_numpy()),
        item_id=item_ids.gather(retrieval.rejected["item"].to_numpy()),
        similarity="similarity",
        reason="reason",
    )
    return MinedNegatives(retrieval.items, mean_vectors(retrieval.items, item_vectors), source), table, rejected


def find_by_co_occurrence(train: Interactions, k: int) -> ItemNeighbours:
    """Return the k items with the largest positive cosine of columns of the training matrix."""
    sizes = np.sqrt(np.maximum(train.item_counts, 1)).astype(np.float32)
    rows = csr_array(diags_array(1 / sizes) @ train.matrix().T)
    k = min(k, train.n_items - 1)
    neighbours = np.full((train.n_items, k), -1, np.int64)
    for start in range(0, train.n_items, BLOCK):
        cosines = (rows[start : start + BLOCK] @ rows.T).toarray()
        places = np.arange(len(cosines))
        cosines[places, start + places] = 0
        best = (-cosines).argsort(axis=1, kind="stable")[:, :k]
        neighbours[start : start + BLOCK] = np.where(np.take_along_axis(cosines, best, axis=1) > 0, best, -1)
    return ItemNeighbours(neighbours, "co-occurrence")


def draw_at_random(n_items: int, k: int, rng: Generator) -> ItemNeighbours:
    """Draw k distinct other items for each item, as a control."""
    k = min(k, n_items - 1)
    others = np.stack([rng.choice(n_items - 1, size=k, replace=False) for _ in range(n_items)])
    return ItemNeighbours(others + (others >= np.arange(n_items)[:, None]), "random")
