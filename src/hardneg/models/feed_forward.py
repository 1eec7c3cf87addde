"""Feed-forward layers whose initialization depends on a seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hardneg.models.config import xavier


class FeedForward(nn.Module):
    """Linear layers with bias, and a leaky ReLU between them; rows (n, sizes[0]) become (n, sizes[-1])."""

    def __init__(self, sizes: Sequence[int], *, slope: float, seed: int, purpose: str) -> None:
        """slope: of the leaky ReLU below 0; 0 is a ReLU. purpose: names the random numbers of the initialization."""
        super().__init__()
        self.slope = slope
        pairs = list(pairwise(sizes))
        names = [f"weights of {purpose}, layer {layer}" for layer in range(1, len(sizes))]
        self.weights = nn.ParameterList(
            xavier(*pair, seed=seed, purpose=name) for pair, name in zip(pairs, names, strict=True)
        )
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(size)) for size in sizes[1:])

    def forward(self, rows: Tensor) -> Tensor:
        """Return the last layer, without an activation."""
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            rows = torch.addmm(bias, F.leaky_relu(rows, self.slope) if layer else rows, weight)
        return rows
