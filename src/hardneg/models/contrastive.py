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
    return contrast_with_own(one, other, torch.arange(len(one), device=one.device), temperature)


def contrast_with_own(
    rows: Tensor, others: Tensor, own: Tensor, temperature: float, counts: Tensor | None = None
) -> Tensor:
    """Return the mean over rows r of -log(exp(c_rr' / t) / sum_k exp(c_rk / t)); c is the cosine of a row and another.

    rows: (n, size). others: (m, size). own: (n,), r', the index of each row's own among the others. counts: (n,), weights
    of the rows in the mean, None for 1. Without rows it is 0.
    """
    if not len(rows):
        return rows.sum()
    counts = rows.new_ones(len(rows)) if counts is None else counts.to(rows.dtype)
    arguments = F.normalize(rows, dim=1) / temperature, F.normalize(others, dim=1), own, counts / counts.sum()
    loss: Tensor = _Contrast.apply(*arguments)  # type: ignore[no-untyped-call]
    return loss


class _Contrast(torch.autograd.Function):
    """The sum over r of weight_r (log(sum_k exp(row_r . other_k)) - row_r . other_r'), and its gradients, computed with it.

    Two tables (n, m) are made in place of the six of automatic differentiation, which costs mostly memory.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, others: Tensor, own: Tensor, weights: Tensor) -> Tensor:
        logarithms = torch.log_softmax(rows @ others.T, dim=1)
        each = torch.arange(len(rows), device=rows.device)
        loss = -(weights * logarithms[each, own]).sum()
        shares = logarithms.exp_()
        shares[each, own] -= 1
        shares *= weights.unsqueeze(1)
        ctx.save_for_backward(shares @ others, shares.T @ rows)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        of_rows, of_others = ctx.saved_tensors
        return gradient * of_rows, gradient * of_others, None, None


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
