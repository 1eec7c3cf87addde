"""Products that a model names for items, grounded from several cosines on: pairs with a vector, and equal categories.

    python reproduction/item_threshold.py data/store-split --llm qwen2.5-coder-0.5b --items 96

Asks about a sample of the items, or without --items reads only stored replies. Same category: share of the chosen items
in the category of the pair's item, at --level of its path; a random item gives the chance.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.data import split as splits
from hardneg.data.split import Split
from hardneg.evaluation.fusion import mean_of_items
from hardneg.llm.engine.store import ReplyStore, request_key
from hardneg.llm.names import open_model
from hardneg.llm.session import Session
from hardneg.mining import item_products
from hardneg.mining.generated import GeneratedConfig, ground_texts
from hardneg.text import GroundingConfig, require_item_texts, sentence_encoder
from hardneg.text.encoders import TextEncoder
from hardneg.text.generation.item_negatives import SCHEMA, ItemNegativesConfig, ItemNegativesPrompts, answer_items
from hardneg.types import Floats, Indices, Progress

COSINES = (0.4, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85)


class CachingEncoder:
    """An encoder that encodes each list of texts once."""

    def __init__(self, encoder: TextEncoder) -> None:
        self.name, self.identity, self._encoder = encoder.name, encoder.identity, encoder
        self._encoded: dict[tuple[str, ...], Floats] = {}

    def encode(self, texts: list[str], progress: Progress | None = None) -> Floats:
        key = tuple(texts)
        if key not in self._encoded:
            self._encoded[key] = self._encoder.encode(texts, progress)
        return self._encoded[key]


def name_some(prompts: ItemNegativesPrompts, session: Session, n_items: int | None) -> pl.DataFrame:
    """Return the products of a sample of items, or of those with a stored reply: columns of SCHEMA."""
    items = prompts.prompted_items
    if n_items is None:
        keys = {int(item): request_key(prompts.request(int(item)), session.model.identity) for item in items}
        known = session.store.known([*keys.values()])
        items = np.array([item for item, key in keys.items() if key in known])
    else:
        items = np.sort(np.random.default_rng(0).permutation(items)[:n_items])
    rows = [
        (item, rank, title, products.reason)
        for item, products in answer_items(prompts, session, items)
        for rank, title in enumerate(products.titles or [""])
    ]
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


def make_table(split: Split, prompts: ItemNegativesPrompts, named: pl.DataFrame, level: int) -> pl.DataFrame:
    """Return a row for each cosine."""
    train, encoder = split.train, CachingEncoder(sentence_encoder())
    texts = item_products.expand_to_pairs(named, train).drop_nulls("text")
    vectors = encoder.encode(require_item_texts(split.texts))
    users, categories = mean_of_items(train, vectors), category_numbers(split, level)
    rows = []
    for cosine in COSINES:
        config = GeneratedConfig(naming="grounded", grounding=GroundingConfig(nearest=cosine))
        grounded = ground_texts(texts, prompts.titles, split, encoder, config.grounding, to_other_items=True)
        grounded = item_products.add_suspects(grounded, train, split.owned, None)
        used = item_products.select_best_fit(grounded, train, users, vectors, config).used
        own, chosen = train.items[grounded.rows[used]], grounded.items[used]
        matched = np.flatnonzero(grounded.items >= 0)
        owners = train.items[grounded.rows[matched]]
        rows.append(
            {
                "cosine": cosine,
                "products_matched": len(matched) / len(grounded.items),
                "same_category_matched": (categories[owners] == categories[grounded.items[matched]]).mean(),
                "pairs_with_vector": used.sum() / texts["row"].n_unique(),
                "same_category_chosen": (categories[own] == categories[chosen]).mean(),
                "distinct_items": len(np.unique(chosen)),
            }
        )
    return pl.DataFrame(rows)


def category_numbers(split: Split, level: int) -> Indices:
    """Return the number of each item's category at a level of its path, from 0 on."""
    paths = split.texts["categories"].fill_null("").str.split(",").list
    return np.unique(paths.get(level, null_on_oob=True).fill_null("").to_numpy(), return_inverse=True)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("split", type=Path)
    parser.add_argument("--llm", required=True)
    parser.add_argument("--items", type=int)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--store", type=Path, default=Path("out/replies.sqlite"))
    arguments = parser.parse_args()
    split = splits.read_split(arguments.split)
    model = open_model(arguments.llm, precision="bfloat16", batch_size=24)
    prompts = ItemNegativesPrompts(split, model, ItemNegativesConfig())
    with ReplyStore(arguments.store) as store:
        named = name_some(prompts, Session(model, store), arguments.items)
    shares = np.bincount(category_numbers(split, arguments.level)) / split.train.n_items
    n_products = named.filter(pl.col("text") != "").height
    print(f"{named['item'].n_unique()} items, {n_products} products; chance of the category {(shares**2).sum():.1%}")
    with pl.Config(tbl_rows=20, tbl_formatting="ASCII_MARKDOWN", tbl_hide_column_data_types=True, float_precision=3):
        print(make_table(split, prompts, named, arguments.level))


if __name__ == "__main__":
    main()
