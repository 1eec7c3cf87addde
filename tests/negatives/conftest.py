"""A batch and its embeddings, for tests of samplers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.models import LightGCN
from hardneg.types import Batch, Embeddings


@pytest.fixture
def batch(seen: Interactions) -> Batch:
    rows = np.arange(0, len(seen), 2)
    return Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), epoch=1, step=0)


@pytest.fixture
def embeddings(seen: Interactions) -> Embeddings:
    return LightGCN(seen, embedding_size=8, hops=2, seed=1)()
