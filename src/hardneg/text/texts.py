"""Item texts and titles: their tf-idf vectors, a control, and their correlation with user preferences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
from numpy.random import Generator
from scipy.sparse import csr_array

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats

SAMPLED_PAIRS = 20_000
TIE = 1e-6
"""Cosines closer than this differ by rounding alone."""


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return one text per item: its title, brand, categories, attributes and description, as far as present, else ""."""
    columns = [pl.col(name) for name in c.TEXT if name in items.columns]
    if not columns:
        return [""] * len(items)
    parts = pl.concat_list(columns).list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))
    return items.select(parts.list.join(". ").alias("text"))["text"].to_list()


def require_item_texts(items: pl.DataFrame) -> list[str]:
    """Return `item_texts`. Raises DataError where no item has a text, with the reason."""
    texts = item_texts(items)
    if any(texts):
        return texts
    if items.width == 1:
        raise DataError("no item has a text, expected an item table; import the dataset with --items")
    raise DataError(
        f"an item table was given, but 0 of {len(items):,} items have a text, expected ids as in the interactions; "
        "`hardneg data import` shows an id of each table"
    )


def titles(items: pl.DataFrame) -> list[str]:
    """Return the title of each item, or its id where the title is blank."""
    if c.TITLE not in items.columns:
        return items[c.ITEM_ID].to_list()
    title = pl.when(pl.col(c.TITLE).str.strip_chars() != "").then(pl.col(c.TITLE)).otherwise(pl.col(c.ITEM_ID))
    return items.select(title.alias("name"))["name"].to_list()


def tfidf(texts: list[str], others: list[str] | None = None) -> tuple[csr_array, csr_array, list[str]]:
    """Return tf-idf rows of unit length for `texts` and, with the same vocabulary, for `others`; and the vocabulary.

    English stop words are left out; a blank text is a row of zeros. Without any word the rows have no columns.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32)
    others = others or [""]
    analyze = vectorizer.build_analyzer()
    if not any(analyze(text) for text in texts):  # scikit-learn would raise
        text_rows, other_rows = (csr_array(np.zeros((len(part), 0), np.float32)) for part in (texts, others))
        return text_rows, other_rows, []
    text_rows = csr_array(vectorizer.fit_transform(texts))
    other_rows = csr_array(vectorizer.transform(others))
    return text_rows, other_rows, list(vectorizer.get_feature_names_out())


def shuffle_item_texts(split: Split, rng: Generator) -> Split:
    """Permute texts among items, and reviews among the pairs that have one; keep pairs and ids.

    All texts of an item move together: title, brand, categories, attributes, description. Words and lengths stay the
    same, but no text describes its item. Item and user profiles use the same permutation: a user profile names an item
    by the title in that item's own profile. A reader can still match the two and recognize train pairs; only the
    meaning of titles is lost.
    """
    texts, order = split.texts, rng.permutation(len(split.texts))
    shuffled = texts.select(c.ITEM_ID).hstack(texts.drop(c.ITEM_ID)[order])
    reviews = split.reviews[c.REVIEW].gather(rng.permutation(len(split.reviews)))
    return replace(split, texts=shuffled.select(texts.columns), reviews=split.reviews.with_columns(reviews))


def text_preference_correlation(pairs: Interactions, texts: list[str], *, seed: int = 0) -> float | None:
    """Return Pearson's r in [-1, 1] between text similarity and observed preference.

    Uses at most 20,000 observed pairs and as many unobserved ones, whose items are drawn by popularity to cancel its
    effect. The similarity of a pair is the cosine between the tf-idf vector of the item and the sum of those of the
    user's *other* items; the label is 1 for observed pairs and 0 for the rest. A definition of our own, without a
    language model. Returns None where it is undefined: no texts, equal texts, no user with two pairs, or no
    unobserved pair.
    """
    eligible = np.flatnonzero(pairs.counts[pairs.users] >= 2)
    if not any(texts) or not len(eligible):
        return None
    vectors, _, _ = tfidf(texts)
    rng = generator(seed, "text-taste correlation")
    sample = rng.choice(eligible, size=min(SAMPLED_PAIRS, len(eligible)), replace=False)
    users, positives = pairs.users[sample], pairs.items[sample]
    others = pairs.items[rng.integers(len(pairs), size=len(sample))]
    unseen = ~pairs.contains(users, others)
    profiles = pairs.matrix() @ vectors
    observed = _cosine(profiles[users] - vectors[positives], vectors[positives])
    unobserved = _cosine(profiles[users[unseen]], vectors[others[unseen]])
    labels = np.repeat([1.0, 0.0], [len(observed), len(unobserved)])
    cosines = np.concatenate([observed, unobserved])
    if np.ptp(cosines) < TIE or not len(unobserved):
        return None
    return float(np.corrcoef(cosines, labels)[0, 1])


def _cosine(a: csr_array, b: csr_array) -> Floats:
    products = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    norms = np.sqrt(np.asarray(a.multiply(a).sum(axis=1)).ravel() * np.asarray(b.multiply(b).sum(axis=1)).ravel())
    return np.asarray(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0))
