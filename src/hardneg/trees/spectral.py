"""Items as points, by the spectrum of their graph: the largest eigenpairs of D^-1/2 W D^-1/2, which are the smallest of
the normalised Laplacian. Every connected component adds an eigenvector of eigenvalue 1 (null vector of the Laplacian)
that says nothing but which component it is; all of these are left out, not just the first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats, Indices

TOLERANCE = 1e-4
"""Relative accuracy of the eigenvalues, as released."""
DENSE = 400
"""Up to so many items the whole spectrum is computed."""
PUSHED = 3.0
"""By how much null vectors are moved down: from 1 to below all other eigenvalues, which lie in [-1, 1]."""


@dataclass(frozen=True)
class Spectrum:
    """points: (n_items, size), NaN in the rows of items without an edge. values: (size,) eigenvalues, largest first, of
    the normalised adjacency. components: connected components of two items or more, each of which had a null vector."""

    points: Floats
    values: Floats
    components: int


def spectral_embedding(weights: csr_array, size: int, *, seed: int) -> Spectrum:
    """Embed the items of a symmetric graph; fewer columns than `size` where it has fewer eigenvectors to give.

    Signs: the entry of largest magnitude is positive. Where a component lies outside an eigenvector it is exactly 0
    there. seed: of the start of the iteration. Raises DataError where that does not converge.
    """
    placed = np.flatnonzero(np.diff(weights.indptr) > 0)
    if not len(placed):
        return Spectrum(np.full((weights.shape[0], 1), np.nan), np.empty(0), 0)
    inner = weights if len(placed) == weights.shape[0] else csr_array(weights[placed][:, placed])
    part = _Normalised.of(inner)
    size = min(size, len(placed) - part.n_components)
    values, vectors = _dense(part, size) if len(placed) <= DENSE else _iterated(part, size, seed)
    vectors = _without_noise(vectors, part.labels, part.n_components)
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(size)] < 0, -1.0, 1.0)
    points = np.full((weights.shape[0], size), np.nan)
    points[placed] = vectors
    return Spectrum(points, values, part.n_components)


@dataclass(frozen=True)
class _Normalised:
    """D^-1/2 W D^-1/2 of a graph where every item has an edge; its null vectors are known: D^1/2 on a component."""

    matrix: csr_array
    null: Floats
    """(items,) the null vectors of all components, each of length 1, side by side, for they never overlap."""
    labels: Indices
    n_components: int

    @classmethod
    def of(cls, weights: csr_array) -> _Normalised:
        n_components, labels = connected_components(weights, directed=False)
        degrees = weights.sum(axis=1, dtype=np.float64)
        scale = (1 / np.sqrt(degrees)).astype(np.float32)
        data = weights.data * np.repeat(scale, np.diff(weights.indptr))
        data *= scale[weights.indices]
        null = np.sqrt(degrees / np.bincount(labels, degrees)[labels])
        matrix = csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
        return cls(matrix, null, labels.astype(np.int64), n_components)

    def without_null(self, vector: Floats) -> Floats:
        """What of a vector lies outside the null vectors."""
        shares = np.bincount(self.labels, self.null * vector, minlength=self.n_components)
        return np.asarray(vector - self.null * shares[self.labels])

    def product(self, vector: Floats) -> Floats:
        """Matrix times vector, null vectors pushed down."""
        vector = vector.ravel()
        times = (self.matrix @ vector.astype(np.float32)).astype(np.float64)
        return np.asarray(times - PUSHED * (vector - self.without_null(vector)))


def _dense(part: _Normalised, size: int) -> tuple[Floats, Floats]:
    whole = part.matrix.toarray().astype(np.float64)
    same = part.labels[:, None] == part.labels
    values, vectors = np.linalg.eigh(whole - PUSHED * same * np.outer(part.null, part.null))
    return values[::-1][:size], vectors[:, ::-1][:, :size]


def _iterated(part: _Normalised, size: int, seed: int) -> tuple[Floats, Floats]:
    n = len(part.null)
    start = part.without_null(generator(seed, "start of the eigenvectors").standard_normal(n))
    operator = LinearOperator((n, n), matvec=part.product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=size, which="LA", v0=start, tol=TOLERANCE)
    except ArpackNoConvergence as error:
        raise DataError(
            f"found {len(error.eigenvalues)} of {size} eigenvectors of the item graph; ask for fewer (embedding_size)"
        ) from None
    return values[::-1], vectors[:, ::-1]


def _without_noise(vectors: Floats, labels: Indices, n_components: int) -> Floats:
    """A component that holds less of an eigenvector than its accuracy holds nothing of it."""
    held = np.stack([np.bincount(labels, column**2, minlength=n_components) for column in vectors.T], axis=1)
    return np.asarray(np.where(held[labels] < TOLERANCE**2, 0.0, vectors))
