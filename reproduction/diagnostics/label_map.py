"""Information about labels in vectors: a ridge regression from vectors to labels, evaluated on held-out train pairs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from diagnostics.label_alternatives import LabelAlternatives
from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats, Indices, block_slices, unit_rows

STRENGTHS = tuple(10.0**power for power in range(-6, 3))
"""Candidate ridge strengths, as shares of a column's variance."""
SELECTION_SHARE = 0.2
"""Share of the fitting rows on which the strength is selected."""
BLOCK = 8192
"""Rows computed at once."""
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
        """Map (rows, width) to (rows, size) in float64."""
        predicted: Floats = ((np.asarray(vectors, np.float64) - self.mean) / self.scale) @ self.weights + self.offset
        return predicted


def ridge(vectors: Floats, labels: Floats, rows: Indices, strengths: Sequence[float]) -> list[Ridge]:
    """Fit one map per strength, which minimises mean ||y - map(x)||^2 + strength ||weights||^2 over `rows`.

    vectors: (n, width), labels: (n, size). Vector columns are scaled to unit variance, which makes strengths
    comparable between kinds of vectors. A constant column has weight 0. The offset is not penalised.
    """
    mean, deviation = _moments(vectors, rows)
    offset, _ = _moments(labels, rows)
    scale = np.where(deviation > 1e-9 * np.maximum(np.abs(mean), 1e-300), deviation, np.inf)
    width, size = vectors.shape[1], labels.shape[1]
    gram, cross = np.zeros((width, width)), np.zeros((width, size))
    for part in block_slices(len(rows), BLOCK):
        x = (np.asarray(vectors[rows[part]], np.float64) - mean) / scale
        gram += x.T @ x
        cross += x.T @ (np.asarray(labels[rows[part]], np.float64) - offset)
    values, axes = np.linalg.eigh(gram / len(rows))
    rotated = axes.T @ (cross / len(rows))
    return [
        Ridge(mean, scale, axes @ (rotated / (np.maximum(values, 0) + strength)[:, None]), offset)
        for strength in strengths
    ]


def _moments(table: Floats, rows: Indices) -> tuple[Floats, Floats]:
    """Return the mean and standard deviation over rows, (columns,) each."""
    total, square = np.zeros(table.shape[1]), np.zeros(table.shape[1])
    for part in block_slices(len(rows), BLOCK):
        total += table[rows[part]].sum(axis=0, dtype=np.float64)
    mean = total / len(rows)
    for part in block_slices(len(rows), BLOCK):
        square += np.square(np.asarray(table[rows[part]], np.float64) - mean).sum(axis=0)
    return mean, np.sqrt(square / len(rows))


@dataclass(frozen=True)
class LabelMap:
    """Predictability of held-out labels from vectors. Every array has one value per held-out pair.

    strength: the selected one. errors, totals: squared distance of the label to its prediction and to the mean label
    of the fitting rows. cosines: of prediction and label, 0 for a prediction of zero. ranks: share of alternative
    labels nearer to the prediction than the own label, in [0, 1]: 0 is best, 0.5 is chance. reciprocals:
    1 / (1 + number of nearer alternatives). Both are NaN for a pair without alternatives.
    """

    strength: float
    errors: Floats
    totals: Floats
    cosines: Floats
    ranks: Floats
    reciprocals: Floats

    @property
    def r2(self) -> float:
        """Coefficient of determination over all held-out pairs and label dimensions; 0 for the mean label."""
        return float(1 - self.errors.sum() / self.totals.sum())

    @property
    def cosine(self) -> float:
        """Mean cosine in [-1, 1]."""
        return float(self.cosines.mean())

    @property
    def rank(self) -> float:
        """Mean share of nearer alternatives, over pairs with alternatives; NaN without such pairs."""
        return _mean(self.ranks)

    @property
    def reciprocal_rank(self) -> float:
        """Mean reciprocal rank, over pairs with alternatives; NaN without such pairs."""
        return _mean(self.reciprocals)

    @cached_property
    def ranked(self) -> Floats:
        """1.0 for a held-out pair with alternatives, else 0.0."""
        return np.asarray(~np.isnan(self.ranks), np.float64)


def fit_label_map(
    vectors: Floats,
    labels: Floats,
    *,
    fit: Indices,
    held_out: Indices,
    alternatives: LabelAlternatives,
    seed: int = 0,
) -> LabelMap:
    """Fit a ridge map from vectors to labels on rows `fit` and evaluate it on rows `held_out`.

    vectors: (n, width), one per pair; width 0 predicts the mean label. labels: (n, size). alternatives: from
    `draw_alternatives`, the same for all vectors that are compared. The strength is the one of STRENGTHS with the
    smallest squared error on a random fifth of the fitting rows; the final map is fitted on all of them. Ranks are by
    cosine with the prediction, ties counted half. Raises DataError if rows overlap, are too few or are not finite.
    """
    _require_usable(vectors, labels, fit, held_out)
    strength = _select_strength(vectors, labels, fit, seed)
    fitted = ridge(vectors, labels, fit, (strength,))[0]
    predicted, own = fitted(vectors[held_out]), np.asarray(labels[held_out], np.float64)
    ranks, reciprocals = _rank(predicted, own, alternatives)
    return LabelMap(
        strength,
        np.square(own - predicted).sum(axis=1),
        np.square(own - fitted.offset).sum(axis=1),
        np.einsum("bd,bd->b", unit_rows(predicted), unit_rows(own)),
        ranks,
        reciprocals,
    )


def _select_strength(vectors: Floats, labels: Floats, fit: Indices, seed: int) -> float:
    shuffled = generator(seed, "strength of ridge maps").permutation(fit)
    selection, rest = np.split(shuffled, [max(int(SELECTION_SHARE * len(fit)), 1)])
    maps = ridge(vectors, labels, rest, STRENGTHS)
    errors = np.zeros(len(maps))
    for part in block_slices(len(selection), BLOCK):
        x, y = vectors[selection[part]], np.asarray(labels[selection[part]], np.float64)
        errors += [float(np.square(y - fitted(x)).sum()) for fitted in maps]
    return STRENGTHS[int(errors.argmin())]


def _rank(predicted: Floats, own: Floats, alternatives: LabelAlternatives) -> tuple[Floats, Floats]:
    """Return the shares of nearer alternatives and the reciprocal ranks, (held-out pairs,) each."""
    counts = alternatives.counts
    pair = np.repeat(np.arange(len(counts)), counts)
    directions = unit_rows(predicted)
    cosines = np.einsum("bd,bd->b", directions, unit_rows(own))
    nearer = np.zeros(len(counts))
    for part in block_slices(len(pair), BLOCK):
        others = unit_rows(np.asarray(alternatives.labels[alternatives.indices[part]], np.float64))
        difference = np.einsum("bd,bd->b", directions[pair[part]], others) - cosines[pair[part]]
        is_tied = np.abs(difference) < 1e-12
        nearer += np.bincount(pair[part], np.where(is_tied, 0.5, difference > 0), minlength=len(counts))
    ranks = np.where(counts > 0, nearer / np.maximum(counts, 1), np.nan)
    return ranks, np.where(counts > 0, 1 / (1 + nearer), np.nan)


@dataclass(frozen=True)
class Interval:
    """A difference and its 95 % interval."""

    difference: float
    low: float
    high: float


def compare_maps(one: LabelMap, other: LabelMap, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Interval]:
    """Return, for each of FIGURES, `one` minus `other` with a bootstrap interval over the held-out pairs.

    Both maps are of the same held-out pairs. Fits and labels are not resampled. A smaller rank is better.
    """
    if len(one.errors) != len(other.errors):
        raise DataError(f"found {len(one.errors)} and {len(other.errors)} held-out pairs, expected the same ones")
    n, rng = len(one.errors), generator(seed, "bootstrap of label maps")
    terms = _terms(one), _terms(other)

    def difference(counts: Floats) -> Floats:
        return _figures(counts, terms[0]) - _figures(counts, terms[1])

    observed = difference(np.ones((1, n)))[0]
    drawn = np.concatenate(
        [difference(_draw_counts(rng, part.stop - part.start, n)) for part in block_slices(resamples, 100)]
    )
    lows, highs = np.quantile(drawn, (0.025, 0.975), axis=0)
    return {name: Interval(float(observed[i]), float(lows[i]), float(highs[i])) for i, name in enumerate(FIGURES)}


def _draw_counts(rng: np.random.Generator, draws: int, n: int) -> Floats:
    """Return (draws, n), the number of times each pair is in a resample."""
    return rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def _terms(fitted: LabelMap) -> Floats:
    """Return (held-out pairs, 6), the terms whose sums the figures are quotients of."""
    columns = (fitted.errors, fitted.totals, fitted.cosines, fitted.ranked)
    return np.stack([*columns, np.nan_to_num(fitted.ranks), np.nan_to_num(fitted.reciprocals)], axis=1)


def _figures(counts: Floats, terms: Floats) -> Floats:
    """Return (draws, figures)."""
    errors, totals, cosines, ranked, ranks, reciprocals = (counts @ terms).T
    n_ranked = np.where(ranked > 0, ranked, np.nan)
    means = cosines / counts.sum(axis=1), ranks / n_ranked, reciprocals / n_ranked
    return np.stack([1 - errors / totals, *means], axis=1)


def _mean(values: Floats) -> float:
    return float(np.nanmean(values)) if not np.isnan(values).all() else float("nan")


def _require_usable(vectors: Floats, labels: Floats, fit: Indices, held_out: Indices) -> None:
    if len(vectors) != len(labels):
        raise DataError(f"found {len(vectors)} vectors and {len(labels)} labels, expected one of each per pair")
    if len(fit) < 2 or not len(held_out):
        raise DataError(f"found {len(fit)} rows to fit on and {len(held_out)} held out, expected at least 2 and 1")
    if n_shared := len(np.intersect1d(fit, held_out)):
        raise DataError(f"found {n_shared} rows in both `fit` and `held_out`, expected disjoint rows")
    for name, table in (("vectors", vectors), ("labels", labels)):
        if not all(np.isfinite(table[rows]).all() for rows in (fit, held_out)):
            raise DataError(f"found {name} that are not finite; leave those pairs out")
