"""Spectral embedding of the item graph: the largest eigenpairs of D^-1/2 W D^-1/2.

These are the smallest eigenpairs of the normalised Laplacian. Every connected component adds an eigenvector of
eigenvalue 1 (a null vector of the Laplacian) that only identifies the component; all of them are left out.
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
"""Maximum number of items for which the full spectrum is computed."""
SHIFT = 3.0
"""Shift of the null vectors' eigenvalue, from 1 to below all others, which lie in [-1, 1]."""


@dataclass(frozen=True)
class Spectrum:
    """Items as points.

    points: (n_items, size), NaN in rows of items without an edge. values: (size,) eigenvalues of the normalised
    adjacency, largest first. components: number of connected components of two items or more.
    """

    points: Floats
    values: Floats
    components: int


def spectral_embedding(weights: csr_array, size: int, *, seed: int) -> Spectrum:
    """Embed the items of a symmetric graph; fewer columns than `size` where it has fewer eigenvectors.

    The entry of largest magnitude of each eigenvector is positive; entries of components outside it are exactly 0.
    seed: of the start vector. Raises DataError where the iteration does not converge.
    """
    connected = np.flatnonzero(np.diff(weights.indptr) > 0)
    if not len(connected):
        return Spectrum(np.full((weights.shape[0], 1), np.nan), np.empty(0), 0)
    inner = weights if len(connected) == weights.shape[0] else csr_array(weights[connected][:, connected])
    part = _NormalisedGraph.of(inner)
    size = min(size, len(connected) - part.n_components)
    values, vectors = _dense(part, size) if len(connected) <= DENSE else _iterative(part, size, seed)
    vectors = _drop_noise(vectors, part.labels, part.n_components)
    vectors *= np.where(vectors[np.abs(vectors).argmax(axis=0), np.arange(size)] < 0, -1.0, 1.0)
    points = np.full((weights.shape[0], size), np.nan)
    points[connected] = vectors
    return Spectrum(points, values, part.n_components)


@dataclass(frozen=True)
class _NormalisedGraph:
    """D^-1/2 W D^-1/2 of a graph where every item has an edge; its null vectors are D^1/2 on each component."""

    matrix: csr_array
    null: Floats
    """(items,) null vectors of all components, each of unit length, in one array because their supports are disjoint."""
    labels: Indices
    n_components: int

    @classmethod
    def of(cls, weights: csr_array) -> _NormalisedGraph:
        n_components, labels = connected_components(weights, directed=False)
        degrees = weights.sum(axis=1, dtype=np.float64)
        scale = (1 / np.sqrt(degrees)).astype(np.float32)
        data = weights.data * np.repeat(scale, np.diff(weights.indptr))
        data *= scale[weights.indices]
        null = np.sqrt(degrees / np.bincount(labels, degrees)[labels])
        matrix = csr_array((data, weights.indices, weights.indptr), shape=weights.shape)
        return cls(matrix, null, labels.astype(np.int64), n_components)

    def without_null(self, vector: Floats) -> Floats:
        """Return a vector without its part in the span of the null vectors."""
        shares = np.bincount(self.labels, self.null * vector, minlength=self.n_components)
        return np.asarray(vector - self.null * shares[self.labels])

    def product(self, vector: Floats) -> Floats:
        """Return matrix times vector, with the null vectors' eigenvalues shifted."""
        vector = vector.ravel()
        product = (self.matrix @ vector.astype(np.float32)).astype(np.float64)
        return np.asarray(product - SHIFT * (vector - self.without_null(vector)))


def _dense(part: _NormalisedGraph, size: int) -> tuple[Floats, Floats]:
    whole = part.matrix.toarray().astype(np.float64)
    same = part.labels[:, None] == part.labels
    values, vectors = np.linalg.eigh(whole - SHIFT * same * np.outer(part.null, part.null))
    return values[::-1][:size], vectors[:, ::-1][:, :size]


def _iterative(part: _NormalisedGraph, size: int, seed: int) -> tuple[Floats, Floats]:
    n = len(part.null)
    start = part.without_null(generator(seed, "start of the eigenvectors").standard_normal(n))
    operator = LinearOperator((n, n), matvec=part.product, dtype=np.float64)
    try:
        values, vectors = eigsh(operator, k=size, which="LA", v0=start, tol=TOLERANCE)
    except ArpackNoConvergence as error:
        raise DataError(
            f"found {len(error.eigenvalues)} of {size} eigenvectors of the item graph; lower embedding_size"
        ) from None
    return values[::-1], vectors[:, ::-1]


def _drop_noise(vectors: Floats, labels: Indices, n_components: int) -> Floats:
    """Set an eigenvector to 0 on components that hold less of its length than the accuracy."""
    shares = np.stack([np.bincount(labels, column**2, minlength=n_components) for column in vectors.T], axis=1)
    return np.asarray(np.where(shares[labels] < TOLERANCE**2, 0.0, vectors))
