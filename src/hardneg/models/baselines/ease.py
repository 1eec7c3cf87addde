"""EASE: a linear model of items in closed form."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import PositiveFloat
from scipy.linalg import lapack
from scipy.sparse import csr_array

from hardneg.config import require_memory
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.models.baselines.config import BaselineConfig
from hardneg.models.baselines.item_item import ItemScores
from hardneg.types import Floats


class EASE(BaselineConfig):
    """EASE (Steck, 2019): least squares of the train matrix X by X B, where the diagonal of B is 0.

    B = I - P diag(1 / diag P), P = (X'X + l2 I)^-1 (eq. 8). The inverse is computed in place, so that it takes
    n_items^2 numbers, and B as many of 32 bits. The run's folder keeps B: 4 n_items^2 bytes, 1.3 GiB for 18,000 items.
    """

    kind: Literal["ease"] = "ease"
    l2: PositiveFloat = 250
    """Weight of the squared norm of B; the paper finds 200 to 1000 best on large sets, sparser sets need less."""
    precision: Literal["float32", "float64"] = "float32"
    """Numbers of the inverse; 64 bits take twice the time and memory."""

    def fit(self, train: Interactions, *, seed: int) -> ItemScores:  # noqa: ARG002 - nothing is random
        """Invert the Gram matrix. Raises ConfigError where it is larger than memory, DataError where it is singular."""
        size, n_bytes = train.n_items, np.dtype(self.precision).itemsize
        require_memory(size * size * (n_bytes + 4), f"EASE of {size:,} items")
        matrix = csr_array(train.matrix().astype(self.precision))
        gram = (matrix.T @ matrix).toarray(order="F")
        gram[np.diag_indices(size)] += self.l2
        return ItemScores.of_weights(train, _weights(_invert(gram)))


def _invert(gram: Floats) -> Floats:
    """Invert a symmetric positive definite matrix in place; the lower triangle of the result is set."""
    factor, inverse = (lapack.dpotrf, lapack.dpotri) if gram.dtype == np.float64 else (lapack.spotrf, lapack.spotri)
    lower, failed = factor(gram, lower=1, overwrite_a=1)
    if not failed:
        lower, failed = inverse(lower, lower=1, overwrite_c=1)
    if failed:
        raise DataError("the Gram matrix of EASE is singular in this precision; raise l2, or choose precision float64")
    return np.asarray(lower)


def _weights(inverse: Floats) -> Floats:
    """Return B float32 from the lower triangle of P; row = train item."""
    diagonal = np.diag(inverse).copy()
    weights = np.empty(inverse.shape, np.float32)
    for item in range(len(inverse)):  # rows, so that no third matrix is in memory
        weights[item, : item + 1] = inverse[item, : item + 1]
        weights[item, item + 1 :] = inverse[item + 1 :, item]
        weights[item] /= -diagonal
        weights[item, item] = 0
    return weights
