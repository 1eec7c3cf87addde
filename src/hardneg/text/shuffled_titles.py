"""The control "titles shuffled": a split whose items are spoken of in the words of other items."""

from __future__ import annotations

from dataclasses import replace

from numpy.random import Generator

from hardneg.data import columns as c
from hardneg.data.split import Split


def shuffle_item_texts(split: Split, rng: Generator) -> Split:
    """Texts permuted among items, and reviews among the pairs that have one; pairs and ids stay.

    What is made from it keeps every word and every length, and says nothing of the item itself. An item's text moves as
    a whole: title, brand, categories, attributes, description. One permutation serves items and users: a user's profile
    names the item's new title as the item's own profile does, so that a reader can still match the two and tell a train
    pair from others. What is lost is what titles mean, not who has what.
    """
    texts, order = split.texts, rng.permutation(len(split.texts))
    words = texts.drop(c.ITEM_ID)[order]
    moved = texts.select(c.ITEM_ID).hstack(words)
    said = split.reviews[c.REVIEW].gather(rng.permutation(len(split.reviews)))
    return replace(split, texts=moved.select(texts.columns), reviews=split.reviews.with_columns(said))
