"""Extractive profiles: who an item is for and what a user likes, in words that train already holds. No LLM writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg import artifacts
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.split import Split
from hardneg.text.texts import item_texts, tfidf, titles
from hardneg.types import Floats, Indices

KIND = "profiles"
SOURCE = "extractive"
N_WORDS = 8
N_TITLES = 3
BLOCK = 1024


@dataclass(frozen=True)
class Profiles:
    """One text an item and one a user, "" where train says nothing; source: what wrote them."""

    items: list[str]
    users: list[str]
    source: str


def extract_profiles(split: Split) -> Profiles:
    """Profiles from item texts, train pairs and train reviews; the same split always gives the same profiles.

    An item's profile is its text and the train review that has most in common with all its train reviews. A user's
    names the words that weigh most (tf-idf) in the texts of the user's train items, the three train items that have
    most in common with those words, and the user's own train review that has.
    """
    texts = item_texts(split.texts)
    vectors, said, words = tfidf(texts, split.reviews[c.REVIEW].to_list())
    if not words:
        return Profiles(texts, [""] * split.train.n_users, SOURCE)
    tastes = csr_array(split.train.matrix() @ vectors)
    likes = _top_words(tastes, words)
    examples = _examples(split, vectors, tastes)
    quotes = _quotes(split.reviews, c.USER, said, tastes, split.train.n_users)
    by_item = _sums(split.reviews[c.ITEM].to_numpy(), said, split.train.n_items)
    heard = _quotes(split.reviews, c.ITEM, said, by_item, split.train.n_items)
    users = [_user_profile(*parts) for parts in zip(likes, examples, quotes, strict=True)]
    items = [" ".join(filter(None, [text, heard[item]])) for item, text in enumerate(texts)]
    return Profiles(items, users, SOURCE)


def _user_profile(likes: list[str], examples: list[str], quote: str) -> str:
    if not likes:
        return ""
    said = f" Says: {quote}" if quote else ""
    return f"Likes: {', '.join(likes)}. Chose: {'; '.join(examples)}.{said}"


def _top_words(tastes: csr_array, words: list[str]) -> list[list[str]]:
    """The heaviest words of each row, ties by spelling."""
    found: list[list[str]] = []
    for start in range(0, tastes.shape[0], BLOCK):
        weights = tastes[start : start + BLOCK].toarray()
        best = (-weights).argsort(axis=1, kind="stable")[:, :N_WORDS]
        kept = np.take_along_axis(weights, best, axis=1) > 0
        found += [[words[w] for w, keep in zip(*row, strict=True) if keep] for row in zip(best, kept, strict=True)]
    return found


def _examples(split: Split, vectors: csr_array, tastes: csr_array) -> list[list[str]]:
    """Titles of each user's train items that have most in common with the user's words."""
    train = split.train
    agreement = _row_products(tastes, train.users, vectors, train.items)
    order = np.lexsort((train.items, -agreement, train.users))
    names = titles(split.texts)
    return [
        [names[train.items[row]] for row in order[first : min(first + N_TITLES, last)]]
        for first, last in zip(train.starts[:-1], train.starts[1:], strict=True)
    ]


def _quotes(reviews: pl.DataFrame, whose: str, said: csr_array, tastes: csr_array, n: int) -> list[str]:
    """The review of each owner (user or item) with the largest product with the owner's words, "" if none."""
    quotes = [""] * n
    if reviews.is_empty():
        return quotes
    owners = reviews[whose].to_numpy()
    agreement = _row_products(tastes, owners, said, np.arange(len(owners)))
    order = np.lexsort((np.arange(len(owners)), -agreement, owners))
    firsts = order[np.unique(owners[order], return_index=True)[1]]
    said_texts = reviews[c.REVIEW].to_list()
    for row in firsts:
        quotes[owners[row]] = said_texts[row]
    return quotes


def _row_products(a: csr_array, rows_a: Indices, b: csr_array, rows_b: Indices) -> Floats:
    """(n,) inner products of paired rows, in blocks."""
    found = [
        np.asarray(a[rows_a[s : s + BLOCK]].multiply(b[rows_b[s : s + BLOCK]]).sum(axis=1)).ravel()
        for s in range(0, len(rows_a), BLOCK)
    ]
    return np.concatenate(found)


def _sums(owners: Indices, rows: csr_array, n: int) -> csr_array:
    """(n, words): the sum of each owner's rows."""
    if not len(owners):
        return csr_array(np.zeros((n, 0), np.float32)) @ csr_array(np.zeros((0, rows.shape[1]), np.float32))
    ones = np.ones(len(owners), np.float32)
    return csr_array(csr_array((ones, (owners, np.arange(len(owners)))), shape=(n, len(owners))) @ rows)


def write(folder: Path, profiles: Profiles, split: Split, *, config: dict[str, Any], inputs: dict[str, str]) -> None:
    """Write items.parquet and users.parquet (id, profile, reasoning, source)."""
    sides = (
        ("items", c.ITEM_ID, split.vocabulary.item_ids, profiles.items),
        ("users", c.USER_ID, split.vocabulary.user_ids, profiles.users),
    )
    notes = {"source": profiles.source, **{f"blank {side}": texts.count("") for side, _, _, texts in sides}}
    with artifacts.writing(folder, KIND, config, inputs, notes) as out:
        for side, column, ids, texts in sides:
            frame = pl.DataFrame({column: ids, "profile": texts}, schema={column: pl.String, "profile": pl.String})
            frame = frame.with_columns(reasoning=pl.lit(""), source=pl.lit(profiles.source))
            frame.write_parquet(out / f"{side}.parquet")


def read(folder: Path) -> Profiles:
    """Read a profiles folder that `write` made."""
    source = artifacts.manifest_of(folder, KIND)["notes"]["source"]
    items, users = (read_parquet(folder / f"{side}.parquet")["profile"].to_list() for side in ("items", "users"))
    return Profiles(items, users, source)
