"""A FAISS index of a run's item embeddings, compared with exact search before it is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hardneg.errors import ConfigError, DataError
from hardneg.pipeline.exports.inputs import ExportInputs
from hardneg.pipeline.exports.tables import write_embeddings_npy
from hardneg.stage import Draft
from hardneg.types import Floats

if TYPE_CHECKING:
    from pathlib import Path

INDEX = "items.faiss"
CHECKED_USERS, CHECKED_DEPTH = 256, 20
TOLERANCE = 1e-4
"""Largest difference of a score from that of exact search, relative to the largest score."""


def require_faiss() -> Any:
    """Return the module faiss. Raises ConfigError where it is not installed."""
    try:
        import faiss
    except ImportError:
        raise ConfigError(
            "--to faiss needs the package faiss-cpu, which is not installed; pip install 'hardneg[faiss]'"
        ) from None
    return faiss


def write_index(draft: Draft, given: ExportInputs) -> None:
    """Write an index of inner products, whose numbers are the rows of items.parquet, and the files of `npy`.

    Raises DataError where the written index finds other scores than exact search.
    """
    faiss = require_faiss()
    write_embeddings_npy(draft, given)
    users, items = (np.load(draft.folder / f"{name}.npy").astype(np.float32) for name in ("users", "items"))
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    faiss.write_index(index, str(draft.folder / INDEX))
    asked = users[:: max(1, -(-len(users) // CHECKED_USERS))]
    _compare_with_exact(faiss.read_index(str(draft.folder / INDEX)), asked, items, draft.folder / INDEX)
    draft.notes["users compared with exact search"] = len(asked)


def _compare_with_exact(index: Any, users: Floats, items: Floats, path: Path) -> None:
    """Raise DataError where the best items of users have other scores than all products have."""
    depth = min(CHECKED_DEPTH, len(items))
    scores, rows = index.search(users, depth)
    products = users @ items.T
    exact = -np.sort(-products, axis=1)[:, :depth]
    close = TOLERANCE * max(float(np.abs(exact).max()), 1e-30)
    same = np.abs(scores - exact).max() <= close
    if not (same and np.abs(np.take_along_axis(products, rows, axis=1) - exact).max() <= close):
        raise DataError(f"{path} finds other items than exact search; install another version of faiss")
