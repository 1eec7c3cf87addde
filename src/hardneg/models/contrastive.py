"""The contrastive loss between two views of the users and items of a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from hardneg.types import Batch, Embeddings, RequiredRows


def contrast_views(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows i of -log(exp(c_ii / t) / sum_j exp(c_ij / t)); c is the cosine of one_i and other_j.

    one, other: (n, size). A single row has loss 0. Source: van den Oord et al. (2018), eq. 4.
    """
    cosines = F.normalize(one, dim=1) @ F.normalize(other, dim=1).T
    return F.cross_entropy(cosines / temperature, torch.arange(len(one), device=one.device))


@dataclass(frozen=True)
class BatchNodes:
    """Distinct users (n,) and distinct positive items (m,) of a batch, ascending."""

    users: Tensor
    items: Tensor

    @classmethod
    def of(cls, batch: Batch) -> BatchNodes:
        """Return those of a batch."""
        return cls(torch.unique(batch.users), torch.unique(batch.positives))

    @property
    def required(self) -> RequiredRows:
        """Rows of the pooled tables that the loss reads."""
        return RequiredRows(self.users.cpu().numpy(), self.items.cpu().numpy(), "none")

    def contrast(self, one: Embeddings, other: Embeddings, temperature: float) -> Tensor:
        """Return `contrast_views` of the pooled users plus that of the pooled items."""
        return self.contrast_tables(
            (one.final_users, one.final_items), (other.final_users, other.final_items), temperature
        )

    def contrast_tables(self, one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], temperature: float) -> Tensor:
        """Return `contrast_views` of users plus that of items, which are never negatives of each other.

        Each side is two tables of `propagate`, which accept gradients of sparse rows.
        """
        users, items = (
            contrast_views(F.embedding(rows, first, sparse=True), F.embedding(rows, second, sparse=True), temperature)
            for first, second, rows in zip(one, other, (self.users, self.items), strict=True)
        )
        return users + items
