"""The contrastive loss between two views of the users and items of a batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.types import Batch, Embeddings, RequiredRows


def contrast_views(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Return the mean over rows i of -log(exp(c_ii / t) / sum_j exp(c_ij / t)); c is the cosine of one_i and other_j.

    one, other: (n, size). A single row has loss 0. Source: van den Oord et al. (2018), eq. 4.
    """
    loss: Tensor = _Contrast.apply(F.normalize(one, dim=1) / temperature, F.normalize(other, dim=1))  # type: ignore[no-untyped-call]
    return loss


class _Contrast(torch.autograd.Function):
    """The mean over i of log(sum_j exp(one_i . other_j)) - one_i . other_i, and its gradients, computed with it.

    Two tables (n, n) are made in place of the six of automatic differentiation, which costs mostly memory.
    """

    @staticmethod
    def forward(ctx: Any, one: Tensor, other: Tensor) -> Tensor:
        logarithms = torch.log_softmax(one @ other.T, dim=1)
        loss = -logarithms.diagonal().mean()
        shares = logarithms.exp_()
        shares.diagonal().sub_(1)
        ctx.save_for_backward(shares @ other / len(one), shares.T @ one / len(one))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        of_one, of_other = ctx.saved_tensors
        return gradient * of_one, gradient * of_other


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
