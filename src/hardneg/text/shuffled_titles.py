"""The control "titles shuffled": a split whose items carry the texts of other items."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from hardneg.data import columns as c
from hardneg.data.split import Split


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
