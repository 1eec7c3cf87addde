"""Initialization of trained tables from a seed, without global random state."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from hardneg.random import generator


def xavier(rows: int, size: int, *, seed: int, purpose: str) -> nn.Parameter:
    """Draw (rows, size) uniformly within +-sqrt(6 / (rows + size)) (Glorot & Bengio, 2010)."""
    bound = np.sqrt(6.0 / (rows + size))
    start = generator(seed, f"start of {purpose}").uniform(-bound, bound, (rows, size)).astype(np.float32)
    return nn.Parameter(torch.from_numpy(start))
