"""Linear maps of vectors: rotations between embedding spaces, and projections to fewer dimensions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from safetensors.numpy import save_file
from scipy.linalg import orthogonal_procrustes

from hardneg.config import BatchSize, Config, Seed, VectorSize
from hardneg.errors import ConfigError, DataError
from hardneg.random import generator
from hardneg.storage import read_tensors
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


class ProjectionConfig(Config):
    """Kind and size of the projection."""

    kind: Literal["orthogonal", "pca"] = "orthogonal"
    """orthogonal: onto random directions, independent of the data; pca: onto the principal axes of a sample."""
    size: VectorSize = 384
    """Number of dimensions."""
    sample: BatchSize = 4096
    """Number of pairs, drawn at random, whose vectors determine the axes of pca."""
    seed: Seed = 0
    """Seed of the directions or the sample."""


@dataclass(frozen=True)
class Projection:
    """(vectors - mean) @ matrix. mean: (width,). matrix: (width, size)."""

    mean: Floats
    matrix: Floats

    def __call__(self, vectors: Floats) -> Floats:
        """Project (rows, width) to (rows, size), float32."""
        return np.asarray((vectors - self.mean) @ self.matrix, np.float32)

    def save(self, path: Path) -> None:
        """Write mean and matrix."""
        save_file({"matrix": np.ascontiguousarray(self.matrix), "mean": np.ascontiguousarray(self.mean)}, path)

    @classmethod
    def read(cls, path: Path) -> Projection:
        """Read a file that `save` wrote."""
        tensors = read_tensors(path, "mean", "matrix")
        return cls(tensors["mean"].numpy(), tensors["matrix"].numpy())


def orthogonal(width: int, size: int, *, seed: int) -> Projection:
    """Draw `size` random orthogonal directions, scaled to preserve norms and cosines in expectation."""
    _require_narrower(width, size)
    directions, signs = np.linalg.qr(generator(seed, "projection").standard_normal((width, size)))
    matrix = directions * np.sign(np.diag(signs)) * np.sqrt(width / size)
    return Projection(np.zeros(width, np.float32), matrix.astype(np.float32))


def pca(vectors: Floats, size: int) -> Projection:
    """Compute the principal axes of vectors (rows, width), around their mean; norms are not preserved."""
    _require_narrower(vectors.shape[1], size)
    if len(vectors) < size:
        raise ConfigError(f"{len(vectors)} vectors have no {size} principal axes; lower the size or raise the sample")
    exact = vectors.astype(np.float64)
    mean = exact.mean(axis=0)
    _, axes = np.linalg.eigh((exact - mean).T @ (exact - mean))
    axes = axes[:, ::-1][:, :size]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(size)])  # fix the arbitrary sign of each axis
    return Projection(mean.astype(np.float32), axes.astype(np.float32))


def _require_narrower(width: int, size: int) -> None:
    if size > width:
        raise ConfigError(f"vectors of {width} numbers cannot be projected to {size}; give at most {width}")
