"""Grounding: match generated names to catalogue items and flag those that are unsuitable as negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.data.products import UNDER_ANOTHER_ID, Products, group_titles, normalise_title
from hardneg.types import Floats, Indices, block_slices

NONE, NEAREST, NORMALISED, EXACT = range(4)
MATCH_TYPES = ("none", "nearest", "normalised", "exact")
"""How a text was matched, indexed by NONE .. EXACT."""
FINE, OUTSIDE, OWNED, DUPLICATE, HISTORY, OTHER_ID, JUDGED = range(7)
REASONS = (
    "",
    "out of the catalogue",
    "the user has it",
    "text as good as the positive's",
    "nearer to the user's history than chosen items are",
    UNDER_ANOTHER_ID,
    "a judge labels it as a false negative",
)
"""Reasons against a text as a negative, indexed by FINE .. JUDGED."""
FLAGS = ("", "out of catalogue", "already chosen", "suspect", "suspect", "already chosen", "suspect")
"""Flag of each of REASONS."""
MAX_CELLS = 2**25
"""Largest number of cosines held in memory."""
BLOCK = 1024
ZERO = 1e-6
"""Norm below which a vector counts as zero."""


@dataclass(frozen=True)
class TitleIndex:
    """Titles by item, "" where an item has none, and groups of items with equal titles.

    texts: (items,). groups: (items,) from `group_titles`, -1 without a title. first: (groups,) first item of each.
    """

    texts: tuple[str, ...]
    groups: Indices
    first: Indices

    @classmethod
    def of(cls, texts: Sequence[str]) -> TitleIndex:
        """Index the titles of a catalogue."""
        groups = group_titles(texts)
        first = np.unique(groups[groups >= 0], return_index=True)[1]
        return cls(tuple(texts), groups, np.flatnonzero(groups >= 0)[first])

    @cached_property
    def distinct(self) -> list[str]:
        """Distinct titles in order of first appearance: the closed list for constrained decoding."""
        return list(dict.fromkeys(filter(None, self.texts)))

    @cached_property
    def exact(self) -> dict[str, int]:
        """First item of each title."""
        return {text: item for item, text in reversed(list(enumerate(self.texts))) if text}

    @cached_property
    def loose(self) -> dict[str, int]:
        """First item of each normalised title."""
        titles = ((normalise_title(self.texts[item]), int(item)) for item in self.first)
        return {title: item for title, item in titles if title}

    def find(self, texts: Sequence[str]) -> tuple[Indices, Indices]:
        """Return the first item with each text's title, and with its normalised title, (texts,) each, -1 for none."""
        exact = [self.exact.get(text, -1) for text in texts]
        loose = [self.loose.get(normalise_title(text), -1) for text in texts]
        return np.array(exact, np.int64), np.array(loose, np.int64)

    def variants(self, items: Indices) -> tuple[str, ...]:
        """Return the titles of these items and all other titles of their groups, sorted."""
        groups = set(self.groups[items].tolist())
        return tuple(sorted({text for group in groups for text in self._titles_by_group.get(group, ())}))

    def owned(self, train: Interactions) -> Interactions:
        """Return the train pairs, and those of the user with other items of the same title.

        A text names no brand, so items that differ in brand alone count as the same product.
        """
        return Products(self.groups, np.full(len(self.groups), -1, np.int64)).add_other_ids(train)

    @cached_property
    def _titles_by_group(self) -> dict[int, set[str]]:
        titles: dict[int, set[str]] = {}
        for text, group in zip(self.texts, self.groups.tolist(), strict=True):
            if text:
                titles.setdefault(group, set()).add(text)
        return titles


class GroundingConfig(Config):
    """Cosine thresholds for matching a text to an item and for suspecting a false negative."""

    nearest: Annotated[float, Field(gt=0, le=1)] = 0.85
    """Least cosine with an item's title for a text that equals no title to match the item.

    With MiniLM, most titles that lose a word stay above it, and most distinct titles stay below. Grounded negatives per
    item have a default of their own, `pipeline.generation.NEAREST_PER_ITEM`."""
    duplicate: Annotated[float, Field(gt=0, le=1)] = 0.98
    """Least cosine with the positive's title for a text to count as the positive itself (as in retrieval)."""
    history: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Quantile of the cosines between train items and the mean of their user's other train items. A text above it is a
    suspect. Computed from train pairs with the encoder in use, so it needs no tuning per encoder; 1 turns it off."""


@dataclass(frozen=True)
class EncodedCatalogue:
    """Titles of all items with their vectors: (items, size), unit length, NaN where an item has no title."""

    names: TitleIndex
    vectors: Floats


class Matches(NamedTuple):
    """Matches of texts with catalogue items.

    items: (texts,) matched item, -1 for none. titled: (texts,) first item whose title the text is, -1 for none. how:
    (texts,) index of MATCH_TYPES. similarity: (texts,) cosine with the matched item's title, or with the nearest title
    where no item matches; NaN where text or titles have no vector.
    """

    items: Indices
    titled: Indices
    how: Indices
    similarity: Floats


def match(
    texts: Sequence[str],
    vectors: Floats,
    catalogue: EncodedCatalogue,
    config: GroundingConfig,
    own: Indices | None = None,
) -> Matches:
    """Match each text to the catalogue: its exact title, else its normalised one, else the nearest.

    vectors: (texts, size), unit length, NaN for a blank text. Of several items with the title, or of titles equally
    near, the first item (lowest index) is taken: the text does not distinguish them.

    own: (texts,) item that the text was named for, -1 for none. The nearest title is then that of another item: all
    items with its title, also when normalised, are excluded. A text that is this title matches the nearest other item,
    or the title where no other is near enough.
    """
    names, excluded = catalogue.names, np.full(len(texts), -1, np.int64)
    if own is not None:
        excluded = np.where(own >= 0, names.groups[own], -1)
    exact, loose = names.find(texts)
    titled = np.where(exact >= 0, exact, loose)
    how = np.select([exact >= 0, loose >= 0], [EXACT, NORMALISED], NONE)
    similarity = row_cosines(vectors, catalogue.vectors[titled])
    is_own = (titled >= 0) & (names.groups[titled] == excluded)
    unmatched = np.flatnonzero((titled < 0) | is_own)
    nearest, cosines = _nearest(vectors[unmatched], catalogue, excluded[unmatched])
    close = cosines >= config.nearest
    items = titled.copy()
    items[unmatched[close]], how[unmatched[close]] = nearest[close], NEAREST
    similar = close | ~is_own[unmatched]
    similarity[unmatched[similar]] = cosines[similar]
    return Matches(items, titled, how, similarity)


def reasons_against(
    rows: Indices,
    which: Indices,
    matches: Matches,
    vectors: Floats,
    catalogue: EncodedCatalogue,
    train: Interactions,
    config: GroundingConfig,
) -> Indices:
    """Return the index of REASONS for text `which[k]` as a negative of pair `rows[k]`.

    vectors: (texts, size), of the matched texts. The first reason that holds: the user has the item, or another of that
    title; the text equals the positive; it is too close to the user's other train items; no item matches. Cosines are those of
    the matched item, else of the text itself.
    """
    limit = history_limit(train, catalogue.vectors, config.history)
    owned, histories = catalogue.names.owned(train), train.matrix()
    reasons = np.zeros(len(rows), np.int64)
    for part in block_slices(len(rows), BLOCK):
        pairs, texts = rows[part], which[part]
        items = matches.items[texts]
        matched = items >= 0
        negatives = np.where(matched[:, None], catalogue.vectors[items], vectors[texts])
        has, has_other_id = (
            matched & pairs_of.contains(train.users[pairs], np.maximum(items, 0)) for pairs_of in (train, owned)
        )
        same = row_cosines(negatives, catalogue.vectors[train.items[pairs]]) >= config.duplicate
        close = row_cosines(negatives, _other_items(histories, train, pairs, catalogue.vectors)) > limit
        reasons[part] = np.select(
            [has, has_other_id, same, close, ~matched], [OWNED, OTHER_ID, DUPLICATE, HISTORY, OUTSIDE], FINE
        )
    return reasons


def history_limit(train: Interactions, vectors: Floats, quantile: float) -> float:
    """Return a quantile, over train pairs, of the cosine of an item with the mean of the user's other train items.

    vectors: (items, size). Infinite where no user has two items with vectors, or where the quantile is 1.
    """
    if quantile == 1:
        return np.inf
    histories, pairs = train.matrix(), np.arange(len(train))
    parts = [
        row_cosines(vectors[train.items[part]], _other_items(histories, train, pairs[part], vectors))
        for part in block_slices(len(train), BLOCK)
    ]
    cosines = np.concatenate([*parts, np.empty(0)])
    cosines = cosines[~np.isnan(cosines)]
    return float(np.quantile(cosines, quantile)) if len(cosines) else np.inf


def _other_items(histories: csr_array, train: Interactions, pairs: Indices, vectors: Floats) -> Floats:
    """Return (pairs, size) sums of the vectors of the user's other train items, NaN where there are none.

    histories: users x items.
    """
    users, positions = np.unique(train.users[pairs], return_inverse=True)
    own = histories[users]
    items, columns = np.unique(own.indices, return_inverse=True)  # only items of these users
    own = csr_array((own.data, columns, own.indptr), shape=(len(users), len(items)))
    filled = np.nan_to_num(vectors[items]).astype(np.float32, copy=False)
    others = (own @ filled)[positions] - np.nan_to_num(vectors[train.items[pairs]])
    others[np.linalg.norm(others, axis=1) < ZERO] = np.nan
    return np.asarray(others)


def _nearest(vectors: Floats, catalogue: EncodedCatalogue, excluded: Indices) -> tuple[Indices, Floats]:
    """Return the item of the nearest title and its cosine, -1 and NaN where no title has a vector.

    excluded: (texts,) group of titles that the text may not match, -1 for none.
    """
    first = catalogue.names.first  # one item per title, or rounding would choose among items of equal titles
    encoded = first[~np.isnan(catalogue.vectors[first, 0])]
    nearest, cosines = np.full(len(vectors), -1, np.int64), np.full(len(vectors), np.nan, np.float32)
    if not len(encoded):
        return nearest, cosines
    table = np.ascontiguousarray(catalogue.vectors[encoded], np.float32)
    columns = np.full(len(first) + 1, -1, np.int64)  # the last one is that of group -1
    columns[catalogue.names.groups[encoded]] = np.arange(len(encoded))
    for part in block_slices(len(vectors), max(1, MAX_CELLS // len(encoded))):
        products = vectors[part].astype(np.float32) @ table.T
        left_out = columns[excluded[part]]
        rows = np.flatnonzero(left_out >= 0)
        products[rows, left_out[rows]] = -np.inf
        best = products.argmax(axis=1)
        cosine = products[np.arange(len(best)), best]
        nearest[part] = np.where(cosine == -np.inf, -1, encoded[best])
        cosines[part] = np.where(cosine == -np.inf, np.nan, cosine)
    return nearest, cosines


def row_cosines(a: Floats, b: Floats) -> Floats:
    """Return (rows,) float32 cosines of paired rows, NaN where either is."""
    a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.einsum("rd,rd->r", a, b) / lengths)
