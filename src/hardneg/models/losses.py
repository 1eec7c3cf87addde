"""Losses: functions of scores, and faster forms that take gathered rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.errors import DataError
from hardneg.models.kernels import bpr_rows


def bpr(positive: Tensor, negatives: Tensor) -> Tensor:
    """Return the mean of log(1 + sum_k exp(negative_k - positive)); for one negative, -log sigmoid(positive - negative).

    positive: (batch,) scores. negatives: (batch, n) scores. Sources: Rendle et al. (2009) for n = 1, the K-pair form of
    MixGCF's release (Huang et al., 2021) for n > 1; computed as softplus(logsumexp), which cannot overflow.
    """
    return F.softplus(torch.logsumexp(negatives - positive.unsqueeze(1), dim=1)).mean()


def bpr_of_rows(users: Tensor, items: Tensor) -> Tensor:
    """Return `bpr` of inner products: users (batch, size), items (batch, 1 + n, size) with the positive first.

    On the CPU, one compiled pass computes scores, loss and gradients, which is faster than the calls of torch.
    """
    if len(users) != len(items):
        raise DataError(f"found {len(users)} users and {len(items)} rows of items, expected equal numbers")
    if users.device.type == "cpu" and users.dtype == items.dtype == torch.float32:
        loss: Tensor = _BprOfRows.apply(users, items)  # type: ignore[no-untyped-call]
        return loss
    scores = (items * users.unsqueeze(1)).sum(dim=2)
    return bpr(scores[:, 0], scores[:, 1:])


class _BprOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor) -> Tensor:
        tables = users.detach().contiguous().numpy(), items.detach().contiguous().numpy()
        gradients = [np.empty_like(table) for table in tables]
        total = bpr_rows(*tables, *gradients)
        ctx.gradients = [torch.from_numpy(gradient) for gradient in gradients]
        return torch.tensor(total / len(users), dtype=users.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        users, items = ctx.gradients
        share = gradient.item() / len(users)
        return users * share, items * share


def l2(*tables: Tensor) -> Tensor:
    """Return half the squared norm of hop-0 rows per pair: (1 / 2 batch) sum ||e||^2.

    tables: (batch, ..., size) each. Only hop 0 is regularised, as in the releases of MixGCF and LightGCN.
    """
    total: Tensor = _Squares.apply(*tables)  # type: ignore[no-untyped-call]
    return total / (2 * len(tables[0]))


class _Squares(torch.autograd.Function):
    """Sum of squares; backward is one product per table."""

    @staticmethod
    def forward(ctx: Any, *tables: Tensor) -> Tensor:
        ctx.save_for_backward(*tables)
        flat = [table.flatten() for table in tables]
        return torch.stack([torch.dot(table, table) for table in flat]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(table * (2 * gradient) for table in ctx.saved_tensors)
