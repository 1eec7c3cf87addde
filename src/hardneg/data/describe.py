"""What a dataset is like: sizes, density, popularity, and how far its texts tell of taste."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.random import generator
from hardneg.types import Floats, Indices

SAMPLED_PAIRS = 20_000


@dataclass(frozen=True)
class Description:
    """One row of the table that `hardneg data describe` prints.

    density: pairs / (users x items). gini: of the item counts, 0 where all are equal, near 1 where few items have all.
    text_taste: see `text_taste_correlation`; None without texts.
    """

    name: str
    users: int
    items: int
    pairs: int
    density: float
    gini: float
    text_taste: float | None


REAL_SETS = (
    Description("Amazon Scientific (5-core)", 8317, 4344, 58492, 0.001619, 0.430, 0.362),
    Description("Yelp 2019 (5-core)", 30431, 20033, 304524, 0.000500, 0.461, 0.204),
)
"""Two real sets, as `hardneg data describe` reports them, to hold a simulated store against."""


def describe(name: str, pairs: Interactions, texts: list[str] | None) -> Description:
    """Describe pairs and, where given, one text an item (blank where unknown)."""
    known = texts is not None and any(texts)
    return Description(
        name,
        pairs.n_users,
        pairs.n_items,
        len(pairs),
        len(pairs) / (pairs.n_users * pairs.n_items),
        gini(pairs.item_counts),
        text_taste_correlation(pairs, texts) if known and texts is not None else None,
    )


def gini(counts: Indices) -> float:
    """Gini coefficient of non-negative counts, in [0, 1): mean absolute difference over twice the mean."""
    ordered = np.sort(counts).astype(float)
    n, total = len(ordered), ordered.sum()
    if total == 0:
        return 0.0
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * total))


def text_taste_correlation(pairs: Interactions, texts: list[str], *, seed: int = 0) -> float:
    """How far what a user has read about predicts what the user chooses: Pearson's r, in [-1, 1].

    Over as many observed as unobserved pairs (at most 20,000 of each; the unobserved item is drawn by popularity, so
    that popularity says nothing): the cosine between the item's tf-idf text and the mean text of the user's *other*
    items, against 1 for observed and 0 for not. A definition of our own; words only, no language model.
    """
    vectors = tfidf(texts)
    rng = generator(seed, "text-taste correlation")
    eligible = np.flatnonzero(pairs.counts[pairs.users] >= 2)
    rows = rng.choice(eligible, size=min(SAMPLED_PAIRS, len(eligible)), replace=False)
    users, chosen = pairs.users[rows], pairs.items[rows]
    others = pairs.items[rng.integers(len(pairs), size=len(rows))]
    fresh = ~pairs.contains(users, others)
    profiles = pairs.matrix() @ vectors
    observed = _cosine(profiles[users] - vectors[chosen], vectors[chosen])
    unobserved = _cosine(profiles[users[fresh]], vectors[others[fresh]])
    labels = np.repeat([1.0, 0.0], [len(observed), len(unobserved)])
    return float(np.corrcoef(np.concatenate([observed, unobserved]), labels)[0, 1])


def tfidf(texts: list[str]) -> csr_array:
    """(texts, words) tf-idf rows of length 1, stop words left out; a blank text is a row of zeros."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32)
    return csr_array(vectorizer.fit_transform(texts))


def item_texts(items: pl.DataFrame) -> list[str]:
    """One text an item: title, brand, categories, attributes, description, as far as they are there."""
    parts = [pl.col(name) for name in c.TEXT if name in items.columns]
    if not parts:
        return [""] * len(items)
    joined = pl.concat_list(parts).list.eval(pl.element().filter(pl.element() != "")).list.join(". ")
    return items.select(joined.alias("text"))["text"].to_list()


def _cosine(a: csr_array, b: csr_array) -> Floats:
    products = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    norms = np.sqrt(np.asarray(a.multiply(a).sum(axis=1)).ravel() * np.asarray(b.multiply(b).sum(axis=1)).ravel())
    return np.divide(products, norms, out=np.zeros_like(products), where=norms > 0)
