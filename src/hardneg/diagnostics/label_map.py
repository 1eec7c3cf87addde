"""What vectors know of labels: one ridge map from vectors to label space, judged on held-out train pairs. Feeds nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hardneg.diagnostics.label_alternatives import LabelAlternatives
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats, Indices, block_slices, unit_rows

STRENGTHS = tuple(10.0**power for power in range(-6, 3))
"""Ridge strengths that are tried, as shares of a column's variance."""
CHOOSING = 0.2
"""Share of the fitting rows on which the strength is chosen."""
BLOCK = 8192
"""Rows handled at once."""
RESAMPLES = 2000
FIGURES = ("r2", "cosine", "rank", "reciprocal_rank")


@dataclass(frozen=True)
class Ridge:
    """A linear map: offset + ((x - mean) / scale) @ weights.

    mean, scale: (width,); weights: (width, size); offset: (size,), the mean label of the fitting rows.
    """

    mean: Floats
    scale: Floats
    weights: Floats
    offset: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """(rows, width) to (rows, size), 64 bits."""
        found: Floats = ((np.asarray(vectors, np.float64) - self.mean) / self.scale) @ self.weights + self.offset
        return found


def ridge(vectors: Floats, labels: Floats, rows: Indices, strengths: Sequence[float]) -> list[Ridge]:
    """The map of each strength: minimises mean ||y - map(x)||^2 + strength ||weights||^2 over `rows`.

    vectors: (n, width), labels: (n, size). Columns of the vectors are taken at unit variance, so that a strength means
    the same for any vectors; a column without variance has no weight. The offset is not shrunk.
    """
    mean, deviation = _moments(vectors, rows)
    offset, _ = _moments(labels, rows)
    scale = np.where(deviation > 1e-9 * np.maximum(np.abs(mean), 1e-300), deviation, np.inf)
    width, size = vectors.shape[1], labels.shape[1]
    of_x, cross = np.zeros((width, width)), np.zeros((width, size))
    for part in block_slices(len(rows), BLOCK):
        x = (np.asarray(vectors[rows[part]], np.float64) - mean) / scale
        of_x += x.T @ x
        cross += x.T @ (np.asarray(labels[rows[part]], np.float64) - offset)
    values, axes = np.linalg.eigh(of_x / len(rows))
    turned = axes.T @ (cross / len(rows))
    return [
        Ridge(mean, scale, axes @ (turned / (np.maximum(values, 0) + strength)[:, None]), offset)
        for strength in strengths
    ]


def _moments(table: Floats, rows: Indices) -> tuple[Floats, Floats]:
    """(columns,) mean and standard deviation over rows."""
    total, square = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    for part in block_slices(len(rows), BLOCK):
        total += table[rows[part]].sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for part in block_slices(len(rows), BLOCK):
        square += np.square(np.asarray(table[rows[part]], np.float64) - mean).sum(axis=0)
    return mean, np.sqrt(square / len(rows))


@dataclass(frozen=True)
class LabelMap:
    """How well labels of held-out pairs follow from vectors. One value a held-out pair in each array.

    strength: the one chosen. errors, totals: squared distance of the label from its prediction, and from the mean label
    of the fitting rows. cosines: of prediction and label, 0 where the prediction is. ranks: share of rivals that are
    nearer to the prediction than the own label, in [0, 1]: 0 is best, .5 is chance; reciprocals: 1 / (1 + nearer
    rivals). Both NaN where a pair has no rival.
    """

    strength: float
    errors: Floats
    totals: Floats
    cosines: Floats
    ranks: Floats
    reciprocals: Floats

    @property
    def r2(self) -> float:
        """1 - errors / totals, summed over held-out pairs and label dimensions; 0 for the mean label."""
        return float(1 - self.errors.sum() / self.totals.sum())

    @property
    def cosine(self) -> float:
        """Mean in [-1, 1]."""
        return float(self.cosines.mean())

    @property
    def rank(self) -> float:
        """Mean share of nearer rivals over the pairs that have rivals; NaN where none has."""
        return _mean(self.ranks)

    @property
    def reciprocal_rank(self) -> float:
        """Mean reciprocal rank over the pairs that have rivals; NaN where none has."""
        return _mean(self.reciprocals)

    @cached_property
    def ranked(self) -> Floats:
        """(held-out pairs,) 1.0 where there are rivals."""
        return np.asarray(~np.isnan(self.ranks), np.float64)


def map_to_labels(
    vectors: Floats, labels: Floats, *, fit: Indices, held: Indices, rivals: LabelAlternatives, seed: int = 0
) -> LabelMap:
    """Fit one ridge map from vectors to labels on rows `fit`, and judge it on rows `held`.

    vectors: (n, width), one a pair: a model's, an embedding, several side by side; width 0 is the mean label. labels:
    (n, size). rivals: by held-out pair (`label_rivals.rivals_of`), the same for whatever is compared. The strength is
    the one of STRENGTHS with the smallest squared error on a fifth of the fitting rows, drawn by the seed, after a fit
    on the others; then all fitting rows are fitted. Ranks are by cosine with the prediction, ties counted half. Raises
    DataError where rows overlap, are too few, or hold what is not finite.
    """
    _require_usable(vectors, labels, fit, held)
    strength = _chosen(vectors, labels, fit, seed)
    found = ridge(vectors, labels, fit, (strength,))[0]
    predicted, own = found(vectors[held]), np.asarray(labels[held], np.float64)
    ranks, reciprocals = _ranked(predicted, own, rivals)
    return LabelMap(
        strength,
        np.square(own - predicted).sum(axis=1),
        np.square(own - found.offset).sum(axis=1),
        np.einsum("bd,bd->b", unit_rows(predicted), unit_rows(own)),
        ranks,
        reciprocals,
    )


def _chosen(vectors: Floats, labels: Floats, fit: Indices, seed: int) -> float:
    shuffled = generator(seed, "strength of ridge maps").permutation(fit)
    choosing, rest = np.split(shuffled, [max(int(CHOOSING * len(fit)), 1)])
    maps = ridge(vectors, labels, rest, STRENGTHS)
    errors = np.zeros(len(maps))
    for part in block_slices(len(choosing), BLOCK):
        x, y = vectors[choosing[part]], np.asarray(labels[choosing[part]], np.float64)
        errors += [float(np.square(y - one(x)).sum()) for one in maps]
    return STRENGTHS[int(errors.argmin())]


def _ranked(predicted: Floats, own: Floats, rivals: LabelAlternatives) -> tuple[Floats, Floats]:
    """Shares of nearer rivals and reciprocal ranks, (held,) each."""
    counts = rivals.counts
    of = np.repeat(np.arange(len(counts)), counts)
    directions = unit_rows(predicted)
    cosines = np.einsum("bd,bd->b", directions, unit_rows(own))
    nearer = np.zeros(len(counts))
    for part in block_slices(len(of), BLOCK):
        theirs = unit_rows(np.asarray(rivals.labels[rivals.which[part]], np.float64))
        beyond = np.einsum("bd,bd->b", directions[of[part]], theirs) - cosines[of[part]]
        is_tied = np.abs(beyond) < 1e-12
        nearer += np.bincount(of[part], np.where(is_tied, 0.5, beyond > 0), minlength=len(counts))
    some = counts > 0
    ranks = np.where(some, nearer / np.maximum(counts, 1), np.nan)
    return ranks, np.where(some, 1 / (1 + nearer), np.nan)


@dataclass(frozen=True)
class Interval:
    """A difference of two figures and its 95 % interval."""

    difference: float
    low: float
    high: float


def compare_maps(one: LabelMap, other: LabelMap, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Figure -> `one` minus `other`, with the 2.5 and 97.5 % quantiles over held-out pairs drawn anew.

    Both are of the same held-out pairs, fits and labels stay as they are: it is the chance of these held-out pairs that
    the interval is about. Smaller ranks are better, so a negative difference of "rank" speaks for `one`.
    """
    if len(one.errors) != len(other.errors):
        raise DataError(f"found {len(one.errors)} and {len(other.errors)} held-out pairs, expected the same ones")
    n, rng = len(one.errors), generator(seed, "bootstrap of label maps")
    sums = (_sums(one), _sums(other))
    observed = _differences(np.ones((1, n)), *sums)[0]
    drawn = np.concatenate(
        [_differences(_times(rng, part.stop - part.start, n), *sums) for part in block_slices(resamples, 100)]
    )
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {name: Interval(float(observed[i]), float(lows[i]), float(highs[i])) for i, name in enumerate(FIGURES)}


def _times(rng: np.random.Generator, draws: int, n: int) -> Floats:
    """(draws, n) how often each pair is in a resample."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def _sums(found: LabelMap) -> Floats:
    """(held, 7) what the figures are quotients of."""
    columns = (found.errors, found.totals, found.cosines, found.ranked)
    return np.stack([*columns, np.nan_to_num(found.ranks), np.nan_to_num(found.reciprocals)], axis=1)


def _differences(times: Floats, one: Floats, other: Floats) -> Floats:
    """(draws, figures)."""
    return _figures(times, one) - _figures(times, other)


def _figures(times: Floats, sums: Floats) -> Floats:
    errors, totals, cosines, ranked, ranks, reciprocals = (times @ sums).T
    some = np.where(ranked > 0, ranked, np.nan)
    return np.stack([1 - errors / totals, cosines / times.sum(axis=1), ranks / some, reciprocals / some], axis=1)


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _require_usable(vectors: Floats, labels: Floats, fit: Indices, held: Indices) -> None:
    if len(vectors) != len(labels):
        raise DataError(f"found {len(vectors)} vectors and {len(labels)} labels, expected one of each a pair")
    if len(fit) < 2 or not len(held):
        raise DataError(f"found {len(fit)} rows to fit on and {len(held)} held out, expected 2 and 1 at least")
    if len(np.intersect1d(fit, held)):
        raise DataError("some held-out rows are fitted on; give rows apart")
    for what, table in (("vectors", vectors), ("labels", labels)):
        if not all(np.isfinite(table[rows]).all() for rows in (fit, held)):
            raise DataError(f"some {what} are no finite numbers; leave those pairs out")
