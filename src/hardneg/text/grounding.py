"""Which catalogue item a written name means, and what speaks against it: our answer to noisy negatives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.sparse import csr_array

from hardneg.config import Config
from hardneg.data.interactions import Interactions
from hardneg.text.title_index import TitleIndex, normalise_title
from hardneg.types import Floats, Indices, block_slices

NONE, NEAREST, NORMALISED, EXACT = range(4)
MATCH_TYPES = ("none", "nearest", "normalised", "exact")
"""How a text was matched, by number."""
FINE, OUTSIDE, OWNED, DUPLICATE, HISTORY = range(5)
REASONS = (
    "",
    "out of the catalogue",
    "the user has it",
    "text as good as the positive's",
    "nearer to the user's history than chosen items are",
)
"""What speaks against a text, by number; 0 is nothing."""
FLAGS = ("", "out of catalogue", "already chosen", "suspect", "suspect")
"""What each of REASONS makes of a text."""
CELLS = 2**25
"""Cosines that are held at a time."""
BLOCK = 1024
ZERO = 1e-6
"""A vector shorter than this has no direction."""


class GroundingConfig(Config):
    """From when on a text means an item, and from when on it is suspect."""

    nearest: Annotated[float, Field(gt=0, le=1)] = 0.85
    """From this cosine with an item's title on, a name that is no title is taken to mean the item.

    With MiniLM most titles that lose a word stay above it, and most titles are further from each other."""
    duplicate: Annotated[float, Field(gt=0, le=1)] = 0.98
    """From this cosine with the positive's title on, a text is taken for the same thing (as in `retrieved`)."""
    history: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Quantile of what chosen items reach: a text is suspect that comes nearer to the mean of the user's other train
    items than this share of all train pairs' own items come. Measured with the encoder at hand, on train pairs alone, so
    it needs no tuning per encoder; 1 leaves suspects to `duplicate`."""


@dataclass(frozen=True)
class EncodedCatalogue:
    """Titles of all items and their vectors: (items, size), unit length, NaN where an item has no title."""

    names: TitleIndex
    vectors: Floats


@dataclass(frozen=True)
class Matches:
    """Of every text: the item (texts,), -1 where none is meant; how (texts,), a number of HOWS; similarity (texts,).

    similarity: cosine with the item's title; where none is meant, with the nearest title; NaN where text or titles
    have no vector.
    """

    items: Indices
    how: Indices
    similarity: Floats

    @classmethod
    def joined(cls, parts: Sequence[Matches]) -> Matches:
        """One after the other."""
        return cls(
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.how for part in parts]),
            np.concatenate([part.similarity for part in parts]),
        )


def match(texts: Sequence[str], vectors: Floats, catalogue: EncodedCatalogue, config: GroundingConfig) -> Matches:
    """Match each text to the catalogue: its exact title, else its normalised one, else the nearest.

    vectors: (texts, size), unit length, NaN for a blank text. Where several items have the title, the first is taken
    (the one with the lowest number): a name cannot tell twins apart. Of titles equally near, the first too.
    """
    names = catalogue.names
    exact = np.array([names.exact.get(text, -1) for text in texts], np.int64)
    loose = np.array([names.loose.get(normalise_title(text), -1) for text in texts], np.int64)
    named = np.where(exact >= 0, exact, loose)
    how = np.select([exact >= 0, loose >= 0], [EXACT, NORMALISED], NONE)
    similarity = _row_cosines(vectors, catalogue.vectors[named])
    left = np.flatnonzero(named < 0)
    near, cosines = _nearest(vectors[left], catalogue)
    meant = cosines >= config.nearest
    named[left], similarity[left] = np.where(meant, near, -1), cosines
    how[left] = np.where(meant, NEAREST, NONE)
    return Matches(named, how, similarity)


def reasons_against(
    rows: Indices,
    which: Indices,
    matches: Matches,
    vectors: Floats,
    catalogue: EncodedCatalogue,
    train: Interactions,
    config: GroundingConfig,
) -> Indices:
    """What speaks against text `which[k]` as a negative of pair row `rows[k]`: a number of REASONS each.

    vectors: (texts, size), of the texts that `matches` is about. The first that holds: the user has an item of that
    title; the text is as good as the positive's; it is too near to the user's other train items; no item is meant.
    Nearness is that of the item that is meant, else of the text itself.
    """
    limit = history_limit(train, catalogue.vectors, config.history)
    owned, histories = catalogue.names.owned(train), train.matrix()
    found = np.zeros(len(rows), np.int64)
    for part in block_slices(len(rows), BLOCK):
        pairs, texts = rows[part], which[part]
        items = matches.items[texts]
        known = items >= 0
        serves = np.where(known[:, None], catalogue.vectors[items], vectors[texts])
        has = known & owned.contains(train.users[pairs], np.maximum(catalogue.names.groups[items], 0))
        same = _row_cosines(serves, catalogue.vectors[train.items[pairs]]) >= config.duplicate
        close = _row_cosines(serves, _other_items(histories, train, pairs, catalogue.vectors)) > limit
        found[part] = np.select([has, same, close, ~known], [OWNED, DUPLICATE, HISTORY, OUTSIDE], FINE)
    return found


def history_limit(train: Interactions, vectors: Floats, quantile: float) -> float:
    """How near chosen items come to the rest of their users' histories: that quantile over all train pairs.

    vectors: (items, size). Nearness: cosine of an item with the mean of the user's other train items. Infinite where
    no user has two items with vectors, or where the quantile is 1.
    """
    if quantile == 1:
        return np.inf
    histories, pairs = train.matrix(), np.arange(len(train))
    parts = [
        _row_cosines(vectors[train.items[part]], _other_items(histories, train, pairs[part], vectors))
        for part in block_slices(len(train), BLOCK)
    ]
    cosines = np.concatenate([*parts, np.empty(0)])
    cosines = cosines[~np.isnan(cosines)]
    return float(np.quantile(cosines, quantile)) if len(cosines) else np.inf


def _other_items(histories: csr_array, train: Interactions, pairs: Indices, vectors: Floats) -> Floats:
    """(pairs, size): the sum of the vectors of the pair's user's other train items, NaN where there are none.

    histories: users x items.
    """
    users, which = np.unique(train.users[pairs], return_inverse=True)
    own = histories[users]
    items, columns = np.unique(own.indices, return_inverse=True)  # only what these users have
    own = csr_array((own.data, columns, own.indptr), shape=(len(users), len(items)))
    filled = np.nan_to_num(vectors[items]).astype(np.float32, copy=False)
    others = (own @ filled)[which] - np.nan_to_num(vectors[train.items[pairs]])
    others[np.linalg.norm(others, axis=1) < ZERO] = np.nan
    return np.asarray(others)


def _nearest(vectors: Floats, catalogue: EncodedCatalogue) -> tuple[Indices, Floats]:
    """The item of the nearest title and its cosine, NaN where there is none; an exact product, in blocks."""
    first = catalogue.names.first  # twins once, or rounding would choose between them
    known = first[~np.isnan(catalogue.vectors[first, 0])]
    near, cosines = np.full(len(vectors), -1, np.int64), np.full(len(vectors), np.nan, np.float32)
    if not len(known):
        return near, cosines
    table = np.ascontiguousarray(catalogue.vectors[known], np.float32)
    for part in block_slices(len(vectors), max(1, CELLS // len(known))):
        products = vectors[part].astype(np.float32) @ table.T
        best = products.argmax(axis=1)
        near[part], cosines[part] = known[best], products[np.arange(len(best)), best]
    return near, cosines


def _row_cosines(a: Floats, b: Floats) -> Floats:
    """(rows,) float32 cosines of paired rows, NaN where one of them is."""
    a, b = a.astype(np.float32, copy=False), b.astype(np.float32, copy=False)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.einsum("rd,rd->r", a, b) / lengths)
