"""Products: items of one title and brand, which are one thing where ownership counts.

A shop lists one product under several ids. A user who has it under one id has it under all, so it is neither a negative
of that user nor a recommendation. Every miner, judge, grounding and recommendation uses this rule.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions, union
from hardneg.errors import DataError
from hardneg.types import Flags, Indices

UNDER_ANOTHER_ID = "the user has it under another id"
"""Reason against an item that is the same product as one of the user's items."""
MAX_PAIRS = 2**27
"""Largest number of pairs that `add_other_ids` examines, which needs some gigabytes."""
MANY_IDS, MANY_SHARE = 5, 0.01
"""Number of items, and their share of the item table, from which one title is remarked on."""
ARTICLES = ("the", "a", "an")
APOSTROPHES = "'\N{RIGHT SINGLE QUOTATION MARK}"


def normalise_title(text: str) -> str:
    """Return a title without differences of spelling, "" where nothing is left.

    Applies NFKC and case folding, deletes apostrophes, and replaces other punctuation and symbols by spaces, except +
    and # (C, C++ and C# differ). Joins white space and drops English articles at the start, or at the end after a
    comma ("Matrix, The"). Word order, numbers, units and accents count: "Set of 2" and "2 Set" differ.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    words = "".join(map(_without_punctuation, folded)).split()
    if len(words) > 1 and words[-1] in ARTICLES and folded.rpartition(",")[2].strip(" .)") in ARTICLES:
        words = words[:-1]
    while len(words) > 1 and words[0] in ARTICLES:
        words = words[1:]
    return " ".join(words)


@cache
def _without_punctuation(char: str) -> str:
    if char in APOSTROPHES:
        return ""
    return char if unicodedata.category(char)[0] in "LMN" or char in "+#" else " "


def describe_frequent_title(items: pl.DataFrame) -> list[str]:
    """Return a remark on the most frequent title and brand of an item table where many items have them, else nothing."""
    if c.TITLE not in items.columns:
        return []
    names = [name for name in (c.TITLE, c.BRAND) if name in items.columns]
    titled = items.filter(pl.col(c.TITLE).str.strip_chars() != "").group_by(names).len()
    many = titled.filter(pl.col("len") >= max(MANY_IDS, MANY_SHARE * len(items))).sort(
        pl.col("len").cast(pl.Int64).neg(), *names
    )
    if many.is_empty():
        return []
    title, count = many[c.TITLE][0], many["len"][0]
    brand = " and one brand" if c.BRAND in names else ""
    return [
        f"{count:,} items have the title {title!r}{brand}, so they count as one product; blank the title if it names none"
    ]


def group_titles(titles: Sequence[str]) -> Indices:
    """Return the number of each title's group, (titles,), -1 for a blank title.

    Titles of a group are equal when normalised; those that normalise to "" must be equal as given. Groups are numbered
    in order of first appearance.
    """
    numbers: dict[str, int] = {}
    keys = [normalise_title(title) or f"={title}" if title.strip() else "" for title in titles]
    return np.array([numbers.setdefault(key, len(numbers)) if key else -1 for key in keys], np.int64)


@dataclass(frozen=True)
class Products:
    """Titles and brands of items, which decide what is the same product.

    titles: (items,) group of the title, -1 for a blank one. brands: (items,) group of the brand, -1 for a blank one.
    Two items are the same product where their titles are equal and their brands are equal or one of them is blank. An
    item with a blank title is the same as no other. A blank brand does not join others: an item without a brand is the
    same as those of brand A and of brand B, which differ from each other.
    """

    titles: Indices
    brands: Indices

    @classmethod
    def of(cls, items: pl.DataFrame) -> Products:
        """Return the products of an item table, whose columns title and brand may be missing."""
        blank = np.full(len(items), -1, np.int64)
        return cls(
            *(
                group_titles(items[name].fill_null("").to_list()) if name in items.columns else blank
                for name in (c.TITLE, c.BRAND)
            )
        )

    def add_other_ids(self, pairs: Interactions) -> Interactions:
        """Return the pairs and, for each, those of the user with every item that is the same product.

        The result answers "the user has it". Raises DataError where a title is so frequent that it names no product.
        """
        sizes = np.bincount(self.titles[self.titles >= 0], minlength=1)
        has_other_id = (self.titles >= 0) & (sizes[self.titles] > 1)
        owned = has_other_id[pairs.items]
        if not owned.any():
            return pairs
        n_examined = int(sizes[self.titles[pairs.items[owned]]].sum())
        if n_examined > MAX_PAIRS:
            first = int(np.flatnonzero(self.titles == sizes.argmax())[0])
            raise DataError(
                f"found {n_examined:,} pairs of users and items of equal titles, expected at most {MAX_PAIRS:,}; "
                f"blank the titles that name no product, such as that of {sizes.max():,} items (first: item {first})"
            )
        held, matching = self._keys(has_other_id)
        has = Interactions(pairs.users[owned], pairs.items[owned], pairs.n_users, pairs.n_items)
        users, items = (has.matrix() @ held @ matching.T).nonzero()
        return union(pairs, Interactions.of(users, items, n_users=pairs.n_users, n_items=pairs.n_items))

    def _keys(self, has_other_id: Flags) -> tuple[csr_array, csr_array]:
        """Return items x keys twice: keys of an item that is owned, and keys of an item that may be the same product.

        Two items are the same product where they share a key. Keys of a title: any brand, no brand, each brand.
        """
        items = np.flatnonzero(has_other_id)
        titles, brands = self.titles[items], self.brands[items]
        n_titles, blank = int(titles.max()) + 1, brands < 0
        branded = 2 * n_titles + np.unique(titles * (int(brands.max()) + 2) + brands, return_inverse=True)[1]
        held = [titles, np.where(blank, n_titles + titles, branded)]
        matching = [np.where(blank, titles, n_titles + titles), np.where(blank, titles, branded)]
        shape, twice = (len(has_other_id), 2 * n_titles + len(items)), np.concatenate([items, items])
        ones = np.ones(len(twice), np.float32)
        keys = (csr_array((ones, (twice, np.concatenate(side))), shape=shape) for side in (held, matching))
        return next(keys), next(keys)
