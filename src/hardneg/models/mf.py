"""Matrix factorisation: the score is the inner product of two trained tables (Rendle et al., 2009)."""

from __future__ import annotations

from torch import nn

from hardneg.data.interactions import Interactions
from hardneg.models.tables import xavier
from hardneg.types import Embeddings, RequiredRows


class MFModel(nn.Module):
    """A backbone with hop 0 only."""

    def __init__(self, train: Interactions, *, embedding_size: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.final_size = embedding_size
        self.users = xavier(train.n_users, embedding_size, seed=seed, purpose="users")
        self.items = xavier(train.n_items, embedding_size, seed=seed, purpose="items")

    def forward(self, required: RequiredRows | None = None) -> Embeddings:  # noqa: ARG002 - nothing is computed
        """Return the tables: users (n_users, size), items (n_items, size)."""
        return Embeddings((self.users,), (self.items,), pooling="mean")
