"""Rotations between embedding spaces: two models trained apart share none, and inner products do not notice."""

from __future__ import annotations

import numpy as np
from scipy.linalg import orthogonal_procrustes

from hardneg.errors import DataError
from hardneg.random import generator
from hardneg.types import Floats


def procrustes(vectors: Floats, places: Floats) -> Floats:
    """The orthogonal R (size, size) with the least ||vectors R - places||, over rows that have a place.

    vectors, places: (rows, size); rows of NaN are left out. Reflections are allowed. Nothing is centred or scaled, so
    that vectors @ R keep all their inner products. Source: Schoenemann (1966). Raises DataError where shapes differ or
    fewer rows than `size` have a place: then many rotations would do, and the one found would mean nothing.
    """
    if vectors.shape != places.shape:
        raise DataError(f"found vectors of shape {vectors.shape} and places of {places.shape}, expected the same rows")
    known = np.isfinite(vectors).all(axis=1) & np.isfinite(places).all(axis=1)
    if known.sum() < vectors.shape[1]:
        raise DataError(
            f"{known.sum()} rows have a place, expected at least {vectors.shape[1]}, as many as a vector has numbers; "
            "import an item table with texts"
        )
    rotation, _ = orthogonal_procrustes(vectors[known].astype(np.float64), places[known].astype(np.float64))
    return np.asarray(rotation)


def random_rotation(size: int, *, seed: int) -> Floats:
    """An orthogonal (size, size), uniform over all of them (Haar): the control that should undo an alignment."""
    directions, signs = np.linalg.qr(generator(seed, "random rotation").standard_normal((size, size)))
    return np.asarray(directions * np.sign(np.diag(signs)))


def rotated(vectors: Floats, rotation: Floats) -> Floats:
    """Vectors (..., size) after a rotation (size, size), in their own precision; products are summed in 64 bits."""
    return np.asarray(vectors.astype(np.float64) @ rotation, vectors.dtype)
