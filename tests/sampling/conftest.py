"""A batch and its embeddings, for tests of samplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.models import LightGCNModel
from hardneg.trees import PathCodes, Trees
from hardneg.types import Batch, Embeddings


@pytest.fixture
def batch(seen: Interactions) -> Batch:
    rows = np.arange(0, len(seen), 2)
    return Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), epoch=1, step=0)


@pytest.fixture
def embeddings(seen: Interactions) -> Embeddings:
    return LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()


@pytest.fixture
def trees() -> Trees:
    """Codes of twelve items; items 3 and 8 lack a code in one of the trees."""
    return Trees(
        PathCodes.of_texts(["0-0", "0-1", "0-2-1", None, "0-2-0", "1-0", "1-0", "1-1", "1-1-3", "2", "2", "2-1"]),
        PathCodes.of_texts(["3-0", "1", "0-0-0-0-1", "0-0-0-0-2", "0-0", "1-1", "2", "2-0", "", "3-1", "3-0", "1-1-0"]),
        "made up",
    )
