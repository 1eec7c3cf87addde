"""LightGCN (He et al., 2020): linear propagation over the graph of training pairs, pooled by the mean of all hops."""

from __future__ import annotations

from torch import nn

from hardneg.data.interactions import Interactions
from hardneg.models.graph import Graph, Storage
from hardneg.models.propagation import propagate
from hardneg.models.tables import xavier
from hardneg.types import Embeddings, Pooling, RequiredRows


class LightGCNModel(nn.Module):
    """E^(l+1) = D^-1/2 A D^-1/2 E^(l); the final embedding is the mean of hops 0..hops (eq. 3 and 4 of the paper).

    The graph contains training pairs only. The two hop-0 tables are the only parameters.
    """

    def __init__(
        self,
        train: Interactions,
        *,
        embedding_size: int = 64,
        hops: int = 3,
        pooling: Pooling = "mean",
        storage: Storage = "float32",
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.hops, self.pooling = hops, pooling
        self.final_size = embedding_size * (hops + 1 if pooling == "concat" else 1)
        self.users = xavier(train.n_users, embedding_size, seed=seed, purpose="users")
        self.items = xavier(train.n_items, embedding_size, seed=seed, purpose="items")
        self.graph = Graph(train, storage=storage)

    def forward(self, required: RequiredRows | None = None) -> Embeddings:
        """Propagate; return hops + 1 tables of users (n_users, size) and of items (n_items, size)."""
        return propagate(self.graph, self.users, self.items, hops=self.hops, pooling=self.pooling, required=required)
