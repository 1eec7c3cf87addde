"""What an item says, and in how many words."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg.data import columns as c


def item_texts(items: pl.DataFrame) -> list[str]:
    """One text an item: title, brand, categories, attributes, description, as far as they are there; "" if none."""
    parts = [pl.col(name) for name in c.TEXT if name in items.columns]
    if not parts:
        return [""] * len(items)
    said = pl.concat_list(parts).list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))
    return items.select(said.list.join(". ").alias("text"))["text"].to_list()


def titles(items: pl.DataFrame) -> list[str]:
    """What to call each item: its title, else its id."""
    if c.TITLE not in items.columns:
        return items[c.ITEM_ID].to_list()
    named = pl.when(pl.col(c.TITLE).str.strip_chars() != "").then(pl.col(c.TITLE)).otherwise(pl.col(c.ITEM_ID))
    return items.select(named.alias("name"))["name"].to_list()


def tfidf(texts: list[str], others: list[str] | None = None) -> tuple[csr_array, csr_array, list[str]]:
    """Tf-idf rows of length 1 for `texts` and, in the same words, for `others`; and the words.

    English stop words are left out; a blank text is a row of zeros. Without any word the rows have no columns.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True, stop_words="english", dtype=np.float32)
    others = others or [""]
    analyse = vectorizer.build_analyzer()
    if not any(analyse(text) for text in texts):  # scikit-learn would raise
        empty, more = (csr_array(np.zeros((len(some), 0), np.float32)) for some in (texts, others))
        return empty, more, []
    rows = csr_array(vectorizer.fit_transform(texts))
    more = csr_array(vectorizer.transform(others))
    return rows, more, list(vectorizer.get_feature_names_out())
