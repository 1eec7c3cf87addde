"""Item texts, item titles and their tf-idf vectors."""

from __future__ import annotations

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg.data import columns as c


def item_texts(items: pl.DataFrame) -> list[str]:
    """Return one text per item: its title, brand, categories, attributes and description, as far as present, else ""."""
    columns = [pl.col(name) for name in c.TEXT if name in items.columns]
    if not columns:
        return [""] * len(items)
    parts = pl.concat_list(columns).list.eval(pl.element().filter(pl.element().str.strip_chars() != ""))
    return items.select(parts.list.join(". ").alias("text"))["text"].to_list()


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
