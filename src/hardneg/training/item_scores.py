"""Scores of many items for each pair without a row for each of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.compiled import reordering
from hardneg.errors import DataError
from hardneg.sampling.gates import has_compiled_pass
from hardneg.sampling.sampler import score_all
from hardneg.types import Floats, Indices, gather_rows


def item_scores(users: Tensor, table: Tensor, items: Tensor) -> Tensor:
    """Return the inner products of users (batch, size) with rows of table (n_items, size) at items (batch, n): (batch, n).

    Same values as gathering (batch, n, size) rows, up to rounding. In float32 on the CPU nothing of that size exists: rows
    are read where they are, and their gradient is a table of n_items rows. Items outside the table raise DataError there.
    """
    if not has_compiled_pass(users, table):
        return (gather_rows(table, items) * users.unsqueeze(1)).sum(dim=2)
    scores: Tensor = _ItemScores.apply(users, table, items)  # type: ignore[no-untyped-call]
    return scores


def squared_norms(table: Tensor, items: Tensor) -> Tensor:
    """Return the sum of the squared norms of the rows of table (n_items, size) at items (any shape, which may repeat)."""
    counts = torch.bincount(items.flatten(), minlength=len(table))
    index = counts.nonzero().squeeze(1)
    return (counts[index] * gather_rows(table, index).square().sum(dim=1)).sum()


class _ItemScores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, table: Tensor, items: Tensor) -> Tensor:
        if len(users) != len(items):
            raise DataError(f"found {len(users)} users and {len(items)} rows of items, expected equal numbers")
        users, table, items = users.detach().contiguous(), table.detach().contiguous(), items.contiguous()
        ctx.save_for_backward(users, table, items)
        return score_all(users, table, items)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        users, table, items = ctx.saved_tensors
        of_users, of_table = torch.zeros_like(users), torch.zeros_like(table)
        arrays = (tensor.numpy() for tensor in (users, table, items, gradient.contiguous(), of_users, of_table))
        _add_gradients(*arrays)
        return of_users, of_table, None


@reordering
def _add_gradients(
    users: Floats, table: Floats, items: Indices, gradient: Floats, of_users: Floats, of_table: Floats
) -> None:
    """Add the gradient of scores (batch, n) to those of users and of the table, pair by pair."""
    for b in range(len(users)):
        for k in range(items.shape[1]):
            item, share = items[b, k], gradient[b, k]
            for d in range(users.shape[1]):
                of_users[b, d] += share * table[item, d]
                of_table[item, d] += share * users[b, d]
