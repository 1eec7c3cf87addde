"""Rotations between embedding spaces, to align separately trained models; inner products are unchanged."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes

from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats


def procrustes(vectors: Floats, targets: Floats) -> Floats:
    """Return the orthogonal R (size, size) with the least ||vectors R - targets||.

    vectors, targets: (rows, size); rows with NaN are left out. Reflections are allowed. Nothing is centred or scaled, so
    vectors @ R keep all their inner products. Source: Schoenemann (1966). Raises DataError if shapes differ or fewer than
    `size` rows are finite: then the rotation is not unique.
    """
    if vectors.shape != targets.shape:
        raise DataError(f"found vectors of shape {vectors.shape} and targets of {targets.shape}, expected equal shapes")
    known = np.isfinite(vectors).all(axis=1) & np.isfinite(targets).all(axis=1)
    if known.sum() < vectors.shape[1]:
        raise DataError(
            f"found {known.sum()} rows with a target, expected at least {vectors.shape[1]}, the size of a vector; "
            "import an item table with texts"
        )
    rotation, _ = orthogonal_procrustes(vectors[known].astype(np.float64), targets[known].astype(np.float64))
    return np.asarray(rotation)


def random_rotation(size: int, *, seed: int) -> Floats:
    """Draw an orthogonal (size, size) matrix uniformly (Haar measure); the control for `procrustes`."""
    directions, signs = np.linalg.qr(generator(seed, "random rotation").standard_normal((size, size)))
    return np.asarray(directions * np.sign(np.diag(signs)))


def rotate(vectors: Floats, rotation: Floats) -> Floats:
    """Rotate vectors (..., size) by (size, size); keep their precision, sum products in 64 bits."""
    return np.asarray(vectors.astype(np.float64) @ rotation, vectors.dtype)
