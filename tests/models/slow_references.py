"""What slow references share: parameters in 64 bits, LightGCN in a loop, and gradients of both sides of a comparison."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hardneg.data import Interactions


def parameters_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().double().requires_grad_() for name, value in model.named_parameters()}


def backpropagate(*tables: Tensor) -> None:
    """Compute the gradients of one weighted sum of each table; all have the same shape."""
    for table in tables:
        (table * torch.linspace(-1, 1, table.numel()).reshape(table.shape)).sum().backward()


def slow_lightgcn(seen: Interactions, nodes: list[Tensor], n_hops: int = 2) -> list[Tensor]:
    """Return the mean of hops 0 to n_hops, one neighbour at a time; 6 users first."""
    near: list[list[int]] = [[] for _ in nodes]
    for u, i in zip(seen.users.tolist(), seen.items.tolist(), strict=True):
        near[u].append(6 + i)
        near[6 + i].append(u)
    hops = [nodes]
    for _ in range(n_hops):
        zero = torch.zeros_like(nodes[0])
        hops.append(
            [
                sum((hops[-1][k] / np.sqrt(len(near[n]) * len(near[k])) for k in near[n]), zero)
                for n in range(len(nodes))
            ]
        )
    return [torch.stack([hop[n] for hop in hops]).sum(dim=0) / (n_hops + 1) for n in range(len(nodes))]
