"""Examples on the demo's page: users with sampled negatives, and replies of the language model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from hardneg import pipeline
from hardneg.data import Split
from hardneg.data.dataset import read_parquet
from hardneg.data.truth import Truth
from hardneg.demo.comparison import BASELINE, SEMANTIC
from hardneg.demo.language_model import NAMING
from hardneg.llm.engine.store import request_key
from hardneg.llm.protocol import Reply
from hardneg.llm.session import Session
from hardneg.mining.generated import GROUNDING
from hardneg.mining.item_products import NAMED
from hardneg.report.demo_page import ShownPair, ShownProduct, ShownReply, ShownUser
from hardneg.studies import Row
from hardneg.text import titles
from hardneg.text.generation.item_negatives import ItemNegativesPrompts
from hardneg.text.profiles import Profiles

EXAMPLE_PAIRS = 3
TAKERS = 6
"""Users of pairs that took a product, at most."""
EXAMPLE_ROWS = (BASELINE, "DNS", "MixGCF", SEMANTIC)
"""Rows whose negatives are shown, besides that of the language model."""


def example_users(data: Split, written: Profiles, truth: Truth, rows: list[Row], runs: Path) -> list[ShownUser]:
    """Return history, profile and sampled negatives of a few users, from the runs of seed 0."""
    examples = {row.name: read_parquet(row.folder(runs, 0) / "examples.parquet") for row in rows}
    names = titles(data.texts)
    return [
        _example_user(int(user), data, written, truth, examples, names) for user in pipeline.shown_users(data.train)
    ]


def _example_user(
    user: int, data: Split, written: Profiles, truth: Truth, examples: dict[str, pl.DataFrame], names: list[str]
) -> ShownUser:
    history = data.train.items_of(user)
    own = (pl.col("user") == user) & (pl.col("part") != "uniform item")  # in text rows, only the item named by text
    sampled_items = pl.col("item").unique(maintain_order=True)
    by_positive = {
        row: dict(frame.filter(own).group_by("positive").agg(sampled_items).iter_rows())
        for row, frame in examples.items()
    }
    items = {item for negatives in by_positive.values() for sampled in negatives.values() for item in sampled}
    liked = {names[item]: float(truth.like_probability(np.array(user), np.array(item))) for item in items}
    pairs = [
        ShownPair(
            names[positive], {row: [names[i] for i in pairs.get(positive, [])] for row, pairs in by_positive.items()}
        )
        for positive in history[:EXAMPLE_PAIRS]
    ]
    history_titles = [names[item] for item in history]
    return ShownUser(data.vocabulary.user_ids[user], history_titles, written.users[user], pairs, liked)


def example_replies(data: Split, truth: Truth, session: Session, named: Path) -> list[ShownReply]:
    """Return what the language model wrote about the first train item of each example user, and what became of it.

    named: the folder of its negatives.
    """
    prompts = ItemNegativesPrompts(data, session.model, NAMING.products)
    items = dict.fromkeys(int(data.train.items_of(int(user))[0]) for user in pipeline.shown_users(data.train))
    requests = {item: prompts.request(item) for item in items if not prompts.skip_reasons[item]}
    keys = {item: request_key(request, session.model.identity) for item, request in requests.items()}
    replies = session.store.known([*keys.values()])
    products, used = read_parquet(named / NAMED), read_parquet(named / GROUNDING).filter("used")
    return [
        ShownReply(
            titles(data.texts)[item],
            [(message.role, message.content) for message in request.messages],
            reply.text,
            _example_products(item, data, truth, products, used),
            int(data.train.item_counts[item]),
        )
        for item, request in requests.items()
        if isinstance(reply := replies.get(keys[item]), Reply)
    ]


def _example_products(
    item: int, data: Split, truth: Truth, products: pl.DataFrame, used: pl.DataFrame
) -> list[ShownProduct]:
    """Return the products of an item. products: the table NAMED. used: rows of GROUNDING that became negatives."""
    ids, names, train = data.vocabulary.item_ids, titles(data.texts), data.train
    numbers = {item_id: number for number, item_id in enumerate(ids)}
    pairs = used.filter(pl.col("row").is_in(np.flatnonzero(train.items == item)))
    shown = []
    for product in products.filter((pl.col("item_id") == ids[item]) & (pl.col("text") != "")).iter_rows(named=True):
        number = numbers.get(product["named_item_id"])
        rows = pairs.filter(pl.col("draw") == product["rank"])["row"].to_list()[:TAKERS]
        users = [int(train.users[row]) for row in rows]
        takers = [
            (data.vocabulary.user_ids[user], float(truth.like_probability(np.array(user), np.array(number))))
            for user in users
        ]
        title, similarity = "" if number is None else names[number], product["similarity"]
        shown.append(ShownProduct(product["text"], title, similarity, product["pairs"], product["reason"], takers))
    return shown
