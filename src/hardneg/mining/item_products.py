"""Negatives of pairs from the products that a language model named for items: the one that fits the user best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.mining.generated import GeneratedConfig, GroundedTexts, Selection, is_left_out
from hardneg.text.generation.negative_generation import SCHEMA
from hardneg.text.grounding import (
    DUPLICATE,
    FINE,
    FLAGS,
    JUDGED,
    MATCH_TYPES,
    OTHER_ID,
    OUTSIDE,
    OWNED,
    REASONS,
    TitleIndex,
    row_cosines,
)
from hardneg.types import Flags, Floats, block_slices

NAMED = "named.parquet"
NAMED_SCHEMA = {
    "item_id": pl.String,
    "rank": pl.Int64,
    "text": pl.String,
    "named_item_id": pl.String,
    "how": pl.String,
    "similarity": pl.Float64,
    "flag": pl.String,
    "reason": pl.String,
    "pairs": pl.Int64,
}
"""One row per named product: the item, the product with its catalogue item, the objection that holds for every pair of
the item, and the number of pairs that take it. An item without a product has one row with the reason. A text that is the
item's own title keeps this objection; the catalogue item is then the nearest other one, if any is near enough."""
ITSELF, SAME_TITLE = "the item itself", "another title of the item"
BLOCK = 4096


def expand_to_pairs(named: pl.DataFrame, train: Interactions) -> pl.DataFrame:
    """Return the products of each train pair's item, in the columns of texts of pairs; the draw is the rank.

    named: columns of `item_negatives.SCHEMA`.
    """
    pairs = pl.DataFrame({"row": np.arange(len(train)), "item": train.items})
    texts = pairs.join(named, on="item", how="left", maintain_order="left_right")
    return texts.select("row", pl.col("rank").alias("draw"), "text", pl.lit("").alias("reasoning"), "reason").cast(
        SCHEMA  # type: ignore[arg-type]
    )


def add_suspects(
    grounded: GroundedTexts, train: Interactions, owned: Interactions, suspects: Interactions | None
) -> GroundedTexts:
    """Return the texts with objections also to items that the user has under another id, or that a judge labels.

    owned: `Split.owned`, by title and brand. suspects: labelled pairs.
    """
    users, items, objections = train.users[grounded.rows], np.maximum(grounded.items, 0), grounded.objections.copy()
    for pairs, code in ((owned, OTHER_ID), (suspects, JUDGED)):
        if pairs is not None:
            objections[(objections == FINE) & (grounded.items >= 0) & pairs.contains(users, items)] = code
    return replace(grounded, objections=objections)


def select_best_fit(
    grounded: GroundedTexts,
    train: Interactions,
    user_vectors: Floats,
    item_vectors: Floats | None,
    config: GeneratedConfig,
) -> Selection:
    """Select for each pair, among the usable products of its item, the one whose vector is nearest to the user's.

    A product is usable without an objection of `config.leave_out`, and never for its own item; raw texts may be out of the
    catalogue. Ties, and users without a vector, take the lowest rank. user_vectors: (users, size), NaN where a user has
    none. item_vectors: (items, size), None for raw texts, whose own vectors count.
    """
    is_raw = config.naming == "raw"
    usable = ~is_left_out(grounded.objections, [f for f in config.leave_out if not (is_raw and f == FLAGS[OUTSIDE])])
    if not is_raw:
        assert item_vectors is not None
        usable &= (grounded.items >= 0) & (grounded.items != train.items[grounded.rows])
        usable &= ~np.isnan(item_vectors[grounded.items, 0])
    places = np.flatnonzero(usable)
    table, numbers = (grounded.vectors, grounded.which) if item_vectors is None else (item_vectors, grounded.items)
    fit = np.empty(len(places), np.float32)
    for part in block_slices(len(places), BLOCK):
        texts = places[part]
        fit[part] = row_cosines(user_vectors[train.users[grounded.rows[texts]]], table[numbers[texts]])
    fit = np.nan_to_num(fit)
    order = np.lexsort((grounded.draws[places], -fit, grounded.rows[places]))
    rows = grounded.rows[places][order]
    first = np.r_[True, rows[1:] != rows[:-1]][: len(rows)]
    used = np.zeros(len(usable), bool)
    used[places[order[first]]] = True
    return Selection(usable, used)


def tabulate_named(
    named: pl.DataFrame, grounded: GroundedTexts, used: Flags, split: Split, names: TitleIndex
) -> pl.DataFrame:
    """Return the columns of NAMED_SCHEMA. named: columns of `item_negatives.SCHEMA`; grounded: their texts by pair."""
    train, item_ids = split.train, np.array([*split.vocabulary.item_ids, None], dtype=object)
    depth = int(named["rank"].max() or 0) + 1  # type: ignore[arg-type]
    keys, first, numbers = np.unique(
        train.items[grounded.rows] * depth + grounded.draws, return_index=True, return_inverse=True
    )
    items, which = keys // depth, grounded.which[first]
    matched, titled = grounded.matches.items[which], grounded.matches.titled[which]
    is_duplicate = np.bincount(numbers, grounded.objections == DUPLICATE, len(keys)) > 0
    groups = np.append(names.groups, -1)
    is_itself = (matched == items) | (titled == items)
    same_title = (groups[items] >= 0) & ((groups[matched] == groups[items]) | (groups[titled] == groups[items]))
    conditions = [is_itself, same_title, is_duplicate, matched < 0]
    codes = np.select(conditions, [OWNED, OTHER_ID, DUPLICATE, OUTSIDE], FINE)
    reasons = np.array(REASONS, dtype=object)
    reasons[[OWNED, OTHER_ID]] = ITSELF, SAME_TITLE
    known = pl.DataFrame(
        {
            "item": items,
            "rank": keys % depth,
            "named_item_id": pl.Series(item_ids[matched].tolist(), dtype=pl.String),
            "how": np.array(MATCH_TYPES)[grounded.matches.how[which]],
            "similarity": grounded.matches.similarity[which].astype(float),
            "flag": np.array(FLAGS)[codes],
            "objection": reasons[codes].tolist(),
            "pairs": np.bincount(numbers, used, len(keys)).astype(np.int64),
        }
    )
    table = named.join(known, on=["item", "rank"], how="left", maintain_order="left").with_columns(
        item_id=pl.Series(split.vocabulary.item_ids, dtype=pl.String).gather(named["item"]),
        reason=pl.coalesce("objection", "reason"),
        flag=pl.col("flag").fill_null(""),
        pairs=pl.col("pairs").fill_null(0),
    )
    return table.select(pl.col(name).cast(kind) for name, kind in NAMED_SCHEMA.items())
