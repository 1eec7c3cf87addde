"""The semantic-behavioural gap: how far what a language model emits lies from what the recommender learnt. Feeds nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hardneg.errors import DataError
from hardneg.types import Floats, Indices

BLOCK = 1024
"""Rows handled at once."""
SPREADLESS = 1e-10
"""Spread below which rows are equal but for rounding, and CKA would compare the rounding."""


@dataclass(frozen=True)
class Gap:
    """Vectors beside rows of the item table: those of their pairs' positives, and the nearest ones.

    cosine_with_positives, cosine_with_nearest: means in [-1, 1]. cka_with_positives, cka_with_nearest: in [0, 1]. spread:
    see `embedding_spread`; near 0 the vectors hardly depend on their pair. count: pairs with a vector. None where a figure is
    undefined: cosines, and whatever is nearest, of vectors of another size than the table; CKA where all rows of a side
    are equal; everything without a pair.
    """

    cosine_with_positives: float | None
    cosine_with_nearest: float | None
    cka_with_positives: float | None
    cka_with_nearest: float | None
    spread: float | None
    count: int


def semantic_behavioural_gap(vectors: Floats, positives: Indices, items: Floats) -> Gap:
    """Compare vectors by pair, before or after tuning or projection, with the recommender's item table.

    vectors: (pairs, size), NaN where there is none. positives: (pairs,). items: (n_items, size of its own). Nearest is
    the item of the largest cosine, the positive itself among them. CKA is 1 where one is a rotation of the other, so it
    tells a map that is still to be learnt from nothing in common; the cosine does not. Some ten thousand pairs are enough.
    Raises DataError where a vector or an item has numbers that are not finite.
    """
    rows = np.flatnonzero(~np.isnan(vectors[:, 0]))
    if not len(rows):
        return Gap(None, None, None, None, None, 0)
    found, beside = vectors[rows], items[positives[rows]]
    if not (np.isfinite(found).all() and np.isfinite(items).all()):
        raise DataError("found numbers that are not finite in vectors or items, expected none; lower the learning rate")
    cka, spread_ = _cka_or_none(found, beside), embedding_spread(found)
    if vectors.shape[1] != items.shape[1]:
        return Gap(None, None, cka, None, spread_, len(rows))
    nearest = items[nearest_items(found, items)]
    cosines = mean_cosine(found, beside), mean_cosine(found, nearest)
    return Gap(*cosines, cka, _cka_or_none(found, nearest), spread_, len(rows))


def _cka_or_none(one: Floats, other: Floats) -> float | None:
    return linear_cka(one, other) if min(embedding_spread(one), embedding_spread(other)) > SPREADLESS else None


def embedding_spread(vectors: Floats) -> float:
    """1 - ||mean||^2 / mean ||.||^2 of rows, in [0, 1]: 0 where all are equal, 1 where they cancel out.

    (n, size). Of what a projector emits it tells whether text still decides anything, or one vector is served to all.
    """
    mean = _mean(vectors)
    square = sum(float(np.square(block).sum()) for block, _ in _both(vectors, vectors)) / len(vectors)
    about = sum(float(np.square(block - mean).sum()) for block, _ in _both(vectors, vectors)) / len(vectors)
    return about / square if square else 0.0


def mean_cosine(one: Floats, other: Floats) -> float:
    """Mean cosine of rows: (n, size) both; a row of zeros counts as 0, one with NaN on a side not at all; nan without rows."""
    total, count = 0.0, 0
    for a, b in _both(one, other):
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = np.einsum("bd,bd->b", a, b) / np.maximum(norms, 1e-300)
        total, count = total + float(np.nansum(cosines)), count + int(np.isfinite(cosines).sum())
    return total / count if count else float("nan")


def linear_cka(one: Floats, other: Floats) -> float:
    """Linear centred kernel alignment of two sets of rows (Kornblith et al., 2019): in [0, 1].

    one: (n, p), other: (n, q). ||Y'X||^2 / (||X'X|| ||Y'Y||), Frobenius, columns centred. 1 for rotations, shifts and
    equal scalings of each other. Of independent rows it is no 0 but about sqrt(p q) / n where columns vary alike: take
    many more rows than columns. Raises DataError where all rows of one are equal, for which it is undefined.
    """
    if len(one) != len(other) or len(one) < 2:
        raise DataError(f"found {len(one)} and {len(other)} rows, expected as many of both and two at least")
    means = _mean(one), _mean(other)
    sizes = one.shape[1], other.shape[1]
    cross, of_one, of_other = (np.zeros((sizes[a], sizes[b])) for a, b in ((0, 1), (0, 0), (1, 1)))
    for a, b in _both(one, other):
        x, y = a - means[0], b - means[1]
        cross += x.T @ y
        of_one += x.T @ x
        of_other += y.T @ y
    below = float(np.linalg.norm(of_one) * np.linalg.norm(of_other))
    if below == 0:
        raise DataError(
            "all rows of one side are equal, so its alignment with anything is undefined; check the vectors"
        )
    return float(np.square(cross).sum()) / below


def nearest_items(vectors: Floats, items: Floats) -> Indices:
    """(n,) the item whose row has the largest cosine with each vector, the first of equals.

    vectors: (n, size), items: (n_items, size).
    """
    table = np.asarray(items, np.float32)
    table = table / np.maximum(np.linalg.norm(table, axis=1, keepdims=True), np.float32(1e-12))
    nearest = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), BLOCK):
        here = slice(start, start + BLOCK)
        nearest[here] = (np.asarray(vectors[here], np.float32) @ table.T).argmax(axis=1)
    return nearest


def _mean(rows: Floats) -> Floats:
    """(size,) in 64 bits."""
    return np.asarray(np.mean(rows, axis=0, dtype=np.float64))


def _both(one: Floats, other: Floats) -> Iterator[tuple[Floats, Floats]]:
    """The same rows of both, block by block, as 64-bit numbers."""
    for start in range(0, len(one), BLOCK):
        here = slice(start, start + BLOCK)
        yield np.asarray(one[here], np.float64), np.asarray(other[here], np.float64)
