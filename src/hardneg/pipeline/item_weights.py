"""The weights of an item-item model in a run folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from scipy.sparse import csr_array

from hardneg.models.baselines.item_item import ItemWeights
from hardneg.storage import read_tensors

WEIGHTS = "item_weights.safetensors"
"""File of a run by item-kNN or EASE: weights (n_items, n_items), or starts, items and values of sparse rows."""
SPARSE = ("starts", "items", "values")


def write_weights(folder: Path, weights: ItemWeights) -> None:
    """Write the weights; row = train item, column = scored item."""
    if isinstance(weights, csr_array):
        parts = (weights.indptr.astype(np.int64), weights.indices.astype(np.int32), weights.data)
        save_file(dict(zip(SPARSE, parts, strict=True)), folder / WEIGHTS)
    else:
        save_file({"weights": np.ascontiguousarray(weights)}, folder / WEIGHTS)


def read_weights(folder: Path, n_items: int) -> ItemWeights | None:
    """Read the weights of a folder; None where it has none."""
    if not (folder / WEIGHTS).is_file():
        return None
    tensors = read_tensors(folder / WEIGHTS)
    if "weights" in tensors:
        dense: ItemWeights = tensors["weights"].numpy()
        return dense
    tensors = read_tensors(folder / WEIGHTS, *SPARSE)
    starts, items, values = (tensors[name].numpy() for name in SPARSE)
    return csr_array((values, items, starts), shape=(n_items, n_items))
