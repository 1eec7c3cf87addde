"""Similarity of embeddings with the text vectors they are aligned to."""

from __future__ import annotations

import numpy as np

from hardneg.types import Floats, block_slices

BLOCK = 1024
"""Rows computed at once."""


def mean_cosine(one: Floats, other: Floats) -> float:
    """Return the mean cosine of corresponding rows, (n, size) each; NaN without rows.

    A row of zeros has cosine 0; a row with NaN on either side is ignored.
    """
    total, count = 0.0, 0
    for block in block_slices(len(one), BLOCK):
        a, b = np.asarray(one[block], np.float64), np.asarray(other[block], np.float64)
        norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        cosines = np.einsum("bd,bd->b", a, b) / np.maximum(norms, 1e-300)
        total, count = total + float(np.nansum(cosines)), count + int(np.isfinite(cosines).sum())
    return total / count if count else float("nan")
