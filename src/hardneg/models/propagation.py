"""The normalised user-item graph and its product with a table, forward and backward."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from scipy.sparse import block_array, csr_array
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.types import Floats, Indices


def normalised_adjacency(train: Interactions) -> csr_array:
    """D^-1/2 A D^-1/2 of the bipartite graph, (n_users + n_items) squared, float32; isolated nodes have empty rows."""
    pairs = train.matrix()
    user_weight, item_weight = (_inverse_root(degree) for degree in (train.counts, train.item_counts))
    weighted = csr_array(pairs.multiply(user_weight[:, None]).multiply(item_weight[None, :]))
    graph = block_array([[None, weighted], [weighted.T, None]], format="csr").astype(np.float32)
    graph.sort_indices()
    return graph


def to_torch(graph: csr_array) -> Tensor:
    """The same matrix as a torch tensor in compressed rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Ss]parse.*")  # torch calls its compressed rows "beta"
        return torch.sparse_csr_tensor(
            torch.from_numpy(graph.indptr.astype(np.int64)),
            torch.from_numpy(graph.indices.astype(np.int64)),
            torch.from_numpy(graph.data),
            size=graph.shape,
        )


class _SymmetricProduct(torch.autograd.Function):
    """graph @ table for a symmetric graph: backward is the same product, so nothing is transposed or saved."""

    @staticmethod
    def forward(ctx: Any, graph: Tensor, table: Tensor) -> Tensor:
        ctx.graph = graph
        return graph @ table

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        return None, ctx.graph @ gradient.contiguous()


def propagate(graph: Tensor, table: Tensor) -> Tensor:
    """One hop: graph (nodes, nodes), symmetric, times table (nodes, size)."""
    product: Tensor = _SymmetricProduct.apply(graph, table)  # type: ignore[no-untyped-call]
    return product


def _inverse_root(degrees: Indices) -> Floats:
    return np.asarray(np.divide(1.0, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0))
