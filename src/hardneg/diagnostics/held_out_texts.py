"""Verbatim traces of held-out pairs in texts: pieces of their reviews, and the titles of their items."""

from __future__ import annotations

import numpy as np
import polars as pl

from hardneg.data import columns as c
from hardneg.data.interactions import union
from hardneg.data.split import Split
from hardneg.diagnostics.leakage import SURPRISING, Check
from hardneg.random import generator
from hardneg.text import item_texts
from hardneg.text.texts import titles
from hardneg.types import Indices

WORDS = 8
"""Number of consecutive words that make a piece."""
LEAST, SHARE = 3, 0.005
"""Number, and share of all held-out reviews, with a piece in a text from which a check fails; some quote descriptions."""
OFTEN = 5.0
"""Ratio to what chance explains from which a check fails."""


def check_reviews(texts: list[str], owners: Indices, reviews: list[str], known: list[str], name: str) -> Check:
    """Check that texts hold no piece of their owners' held-out reviews that occurs nowhere in the training data.

    texts: one per owner, a user or an item. owners, reviews: (n,), held-out reviews and the index of the owner of each.
    known: texts of the training data, whose pieces do not count.
    """
    held_out = _pieces(reviews).with_columns(
        pl.col("row").replace_strict(dict(enumerate(owners.tolist()))).alias("owner")
    )
    ours = _pieces(texts).rename({"row": "owner"})
    shared = held_out.join(ours, on=["owner", "piece"], how="semi")
    shared = shared.join(_pieces(known), on="piece", how="anti")
    found = shared["row"].unique().sort()
    detail = f"{len(found):,} of {len(reviews):,} held-out reviews share {WORDS} words or more with them that no training data hold"
    passed = len(found) < max(LEAST, SHARE * len(reviews))
    if not passed:
        detail += f"; first: {reviews[found[0]][:60]!r}"
    return Check(f"the {name} hold no pieces of held-out reviews", passed, detail)


def check_titles(profiles: list[str], split: Split) -> Check:
    """Check that user profiles name held-out items of their user no more often than those of other users.

    profiles: one per user. Titles that occur among the texts of the user's train items do not count.
    """
    from scipy.stats import poisson

    held = union(split.valid, split.test)
    own = _count_named(profiles, split, held.users, held.items)
    rounds = [generator(seed, "titles of other users").permutation(held.users) for seed in range(5)]
    others = float(np.mean([_count_named(profiles, split, users, held.items) for users in rounds]))
    failed = own > OFTEN * others and poisson.sf(own - 1, max(others, 1.0)) < SURPRISING
    detail = f"{own:,} of {len(held):,} held-out items are named in the profile of their user, {others:,.1f} in those of other users"
    return Check("user profiles do not name held-out items", not failed, detail)


def _count_named(profiles: list[str], split: Split, users: Indices, items: Indices) -> int:
    """Return how many pairs have the item's title in the user's profile but not in the texts of the user's train items."""
    names, texts = titles(split.texts), item_texts(split.texts)
    train = pl.DataFrame(
        {c.USER: split.train.users, "text": pl.Series(texts, dtype=pl.String).gather(split.train.items)}
    )
    reviews = split.reviews.select(pl.col(c.USER).cast(pl.Int64), pl.col(c.REVIEW).alias("text"))
    known = pl.concat([train, reviews]).group_by(c.USER).agg(pl.col("text").str.join(" ").str.to_lowercase())
    pairs = pl.DataFrame({c.USER: users, "title": pl.Series(names, dtype=pl.String).gather(items)})
    pairs = pairs.with_columns(pl.col("title").str.to_lowercase()).join(known, on=c.USER, how="left")
    profile = pl.Series(profiles, dtype=pl.String).str.to_lowercase().gather(users)
    named = pl.col("profile").str.contains(pl.col("title"), literal=True)
    told = pl.col("text").fill_null("").str.contains(pl.col("title"), literal=True)
    return pairs.with_columns(profile.alias("profile")).filter((pl.col("title") != "") & named & ~told).height


def _pieces(texts: list[str]) -> pl.DataFrame:
    """Return columns row and piece (hashed): every WORDS consecutive words of each text, in lower case."""
    words = pl.Series("word", texts, dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")
    frame = pl.DataFrame({"row": np.arange(len(texts)), "word": words}).explode("word").drop_nulls("word")
    piece = pl.concat_str([pl.col("word").shift(-place) for place in range(WORDS)], separator=" ").hash(seed=0)
    whole = pl.col("row") == pl.col("row").shift(1 - WORDS)
    return frame.select("row", piece=piece, whole=whole).filter(pl.col("whole")).select("row", "piece").unique()
