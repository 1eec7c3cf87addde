"""Negatives by retrieval: catalogue items whose text is near the positive's and the user's profile. No LLM writes here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field, PositiveInt

from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.data.split import Vocabulary
from hardneg.sampling.mined import SCHEMA, MinedNegatives, mean_vectors
from hardneg.types import Flags, Floats, Indices, Progress, block_slices

BLOCK = 1024
REASONS = ("", "the user has it", "text as good as the positive's")
"""Why an item that ranked high was refused, by number; 0 is no reason."""


class RetrievalConfig(Config):
    """What counts as near, and what is refused."""

    n: PositiveInt = 1
    """Negatives a pair."""
    pool: PositiveInt = 50
    """Text neighbours of the positive that are looked at."""
    profile_share: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Weight of the cosine with the user's profile; the rest goes to the cosine with the positive."""
    duplicate: Annotated[float, Field(gt=0, le=1)] = 0.98
    """From this cosine with the positive on, an item is taken for the same thing and refused."""


@dataclass(frozen=True)
class Retrieval:
    """Chosen items (pairs, n), -1 where the pool ran out, their score, and what ranked above them but was refused."""

    items: Indices
    similarity: Floats
    refused: pl.DataFrame


def retrieve_items(
    train: Interactions,
    item_vectors: Floats,
    profile_vectors: Floats,
    options: RetrievalConfig,
    progress: Progress | None = None,
) -> Retrieval:
    """Choose for every train pair the best text neighbours that the user does not have.

    item_vectors: (n_items, size), profile_vectors: (n_users, size): unit length, or NaN where there is no text.
    Score: (1 - share) cos(positive, item) + share cos(profile, item); where the profile is missing, the first alone.
    """
    neighbours, nearness = text_neighbours(item_vectors, options.pool)
    profiles = np.nan_to_num(profile_vectors)
    known = ~np.isnan(profile_vectors[:, :1])
    items = np.full((len(train), options.n), -1, np.int64)
    similarity = np.full((len(train), options.n), np.nan, np.float32)
    refused = []
    for rows in block_slices(len(train), BLOCK):
        users, positives = train.users[rows], train.items[rows]
        pool, near = neighbours[positives], nearness[positives]
        fit = np.einsum("bd,bpd->bp", profiles[users], np.nan_to_num(item_vectors[pool]))
        share = options.profile_share * known[users]
        score = np.where(pool >= 0, (1 - share) * near + share * fit, -np.inf)
        order = (-score).argsort(axis=1, kind="stable")
        pool, near, score = (np.take_along_axis(x, order, axis=1) for x in (pool, near, score))
        reason = _reasons(train, users, pool, near, options)
        place = np.cumsum(reason == 0, axis=1)
        chosen = (reason == 0) & (place <= options.n)
        _take(items, similarity, rows, pool=pool, score=score, chosen=chosen, place=place)
        above = (reason > 0) & (place < options.n) & (pool >= 0)
        refused.append(_refused(users, positives, pool=pool, score=score, reason=reason, above=above))
        if progress is not None:
            progress("retrieving negatives", min(rows.stop, len(train)), len(train))
    return Retrieval(items, similarity, pl.concat(refused))


def text_neighbours(vectors: Floats, k: int) -> tuple[Indices, Floats]:
    """The k nearest other items by cosine: items (n_items, k), -1 where there are fewer, and their cosines.

    vectors: (n_items, size), unit length, NaN without a text: such an item has no neighbours and is nobody's.
    """
    n, k = len(vectors), min(k, len(vectors) - 1)
    known = ~np.isnan(vectors[:, 0])
    filled = np.nan_to_num(vectors).astype(np.float32)
    neighbours, nearness = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for rows in block_slices(n, BLOCK):
        cosines = filled[rows] @ filled.T
        cosines[:, ~known] = -np.inf
        cosines[np.arange(len(cosines)), np.arange(rows.start, rows.start + len(cosines))] = -np.inf
        best = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        best = np.take_along_axis(best, (-np.take_along_axis(cosines, best, 1)).argsort(1, kind="stable"), 1)
        near = np.take_along_axis(cosines, best, axis=1)
        usable = np.isfinite(near) & known[rows][:, None]
        neighbours[rows], nearness[rows] = np.where(usable, best, -1), np.where(usable, near, -np.inf)
    return neighbours, nearness


def tabulate_retrieval(
    retrieval: Retrieval,
    train: Interactions,
    vocabulary: Vocabulary,
    texts: list[str],
    item_vectors: Floats,
    source: str,
) -> tuple[MinedNegatives, pl.DataFrame, pl.DataFrame]:
    """Put a retrieval into the form of the negatives folder: vectors by pair row, a table, the refused ones."""
    rows, places = np.nonzero(retrieval.items >= 0)
    chosen = retrieval.items[rows, places]
    user_ids, item_ids = np.array(vocabulary.user_ids), np.array(vocabulary.item_ids)
    table = pl.DataFrame(
        {
            "row": rows,
            "user_id": user_ids[train.users[rows]],
            "positive_item_id": item_ids[train.items[rows]],
            "negative_text": np.array(texts, dtype=object)[chosen],
            "item_id": item_ids[chosen],
            "similarity": retrieval.similarity[rows, places].astype(float),
            "reasoning": "near the positive and the profile in text, not among the user's train items",
            "source": source,
        },
        schema_overrides=SCHEMA,
    )
    refused = retrieval.refused.select(
        pl.Series("user_id", user_ids[retrieval.refused["user"].to_numpy()]),
        pl.Series("positive_item_id", item_ids[retrieval.refused["positive"].to_numpy()]),
        pl.Series("item_id", item_ids[retrieval.refused["item"].to_numpy()]),
        "similarity",
        "reason",
    )
    return MinedNegatives(retrieval.items, mean_vectors(retrieval.items, item_vectors), source), table, refused


def _reasons(train: Interactions, users: Indices, pool: Indices, near: Floats, options: RetrievalConfig) -> Indices:
    """(batch, pool): 0 where an item may serve, else its number in REASONS; 3 where the pool ran out."""
    reason = np.where(near >= options.duplicate, 2, 0)
    reason = np.where(train.contains(users[:, None], np.maximum(pool, 0)) & (pool >= 0), 1, reason)
    return np.where(pool < 0, 3, reason)


def _take(
    items: Indices, similarity: Floats, rows: slice, *, pool: Indices, score: Floats, chosen: Flags, place: Indices
) -> None:
    pair, column = np.nonzero(chosen)
    where = (rows.start + pair, place[pair, column] - 1)
    items[where], similarity[where] = pool[pair, column], score[pair, column]


def _refused(
    users: Indices, positives: Indices, *, pool: Indices, score: Floats, reason: Indices, above: Flags
) -> pl.DataFrame:
    pair, column = np.nonzero(above)
    return pl.DataFrame(
        {
            "user": users[pair],
            "positive": positives[pair],
            "item": pool[pair, column],
            "similarity": score[pair, column].astype(float),
            "reason": np.array(REASONS)[reason[pair, column]],
        }
    )
