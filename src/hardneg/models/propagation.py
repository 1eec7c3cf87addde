"""Hops over the graph, forward and backward, as one step of automatic differentiation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.errors import DataError
from hardneg.models.graph import NO_POOL, Graph, GraphSide, Keep, Pool, RowSubset, StoredTable
from hardneg.models.kernels import add_rows, put_rows, take_rows
from hardneg.types import Embeddings, Indices, Pooling, RequiredRows, pool


def propagate(
    graph: Graph, users: Tensor, items: Tensor, *, hops: int, pooling: Pooling, wanted: RequiredRows | None = None
) -> Embeddings:
    """E^(l+1) = graph x E^(l), l < hops, hop 0 being users (n_users, size) and items (n_items, size).

    wanted: rows that will be read of the last hop and of the pooled tables, and of which sides hops above 0 are read at
    all. Other rows are not computed (they begin with NaN), other tables are empty. The same bits either way.
    """
    if users.dtype != torch.float32 or items.dtype != torch.float32:
        raise DataError(f"found tables of {users.dtype}, expected torch.float32; leave the model's numbers as they are")
    if hops == 0:
        return Embeddings((users,), (items,), pooling)
    wanted = wanted if graph.own(users.device) else None
    tables: tuple[Tensor, ...] = _Propagate.apply(graph, hops, pooling, wanted, users, items)  # type: ignore[no-untyped-call]
    user_hops, item_hops, pooled = tables[: hops + 1], tables[hops + 1 : -2], tables[-2:]
    return Embeddings(user_hops, item_hops, pooling, pooled=(pooled[0], pooled[1]))


class _Propagate(torch.autograd.Function):
    """All hops at once. The graph is symmetric, so backward is the same product: nothing is transposed, and nothing
    is saved per hop. Gradients may come as sparse rows, which is how `rows` sends them."""

    @staticmethod
    def forward(
        ctx: Any, graph: Graph, hops: int, pooling: Pooling, wanted: RequiredRows | None, users: Tensor, items: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.graph, ctx.hops, ctx.pooling, ctx.takes_sparse = graph, hops, pooling, True
        ctx.tables = (users.detach().contiguous(), items.detach().contiguous())
        ctx.set_materialize_grads(False)
        forward = _own_hops if graph.own(users.device) else _plain_hops
        user_hops, item_hops, pooled = forward(graph, hops, pooling, wanted, *ctx.tables)
        return users, *user_hops, items, *item_hops, *pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hops, given = ctx.hops, [_in_order(gradient) for gradient in gradients]
        shares = [
            _Share(hop, hops, ctx.pooling, given[hop], given[hops + 1 + hop], *given[-2:]) for hop in range(hops + 1)
        ]
        return None, None, None, None, *_backward(ctx.graph, shares, *ctx.tables)


Hops = tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor]]
"""Hops 1 and on of users and of items, and both pooled tables."""


def _plain_hops(
    graph: Graph,
    hops: int,
    pooling: Pooling,
    wanted: RequiredRows | None,  # noqa: ARG001 - torch multiplies all rows
    users: Tensor,
    items: Tensor,
) -> Hops:
    user_hops, item_hops = [users], [items]
    for _ in range(hops):
        users, items = graph.plain(users, items)
        user_hops.append(users)
        item_hops.append(items)
    return user_hops[1:], item_hops[1:], (pool(tuple(user_hops), pooling), pool(tuple(item_hops), pooling))


def _own_hops(
    graph: Graph, hops: int, pooling: Pooling, wanted: RequiredRows | None, users: Tensor, items: Tensor
) -> Hops:
    of_users, of_items, reads = (None, None, "both") if wanted is None else (wanted.users, wanted.items, wanted.hops)
    user_side = _Side(graph.users, users, of_users, pooling, hops)
    item_side = _Side(graph.items, items, of_items, pooling, hops)
    reads = "both" if pooling == "concat" else reads
    stored_users, stored_items = graph.store(users.numpy()), graph.store(items.numpy())
    for hop in range(1, hops + 1):
        last = hop == hops
        next_users = user_side.hop(stored_items, _keeps(reads == "both", last), last)
        stored_items = item_side.hop(stored_users, _keeps(reads != "none", last), last)
        stored_users = next_users
    return user_side.tables[1:], item_side.tables[1:], (user_side.pooled(), item_side.pooled())


class _Side:
    """Users or items on their way over the hops."""

    def __init__(self, side: GraphSide, start: Tensor, wanted: Indices | None, pooling: Pooling, hops: int) -> None:
        self.side, self.wanted, self.pooling = side, wanted, pooling
        self.tables, self.pool = [start], NO_POOL
        if pooling != "concat":
            rows = np.arange(len(start)) if wanted is None else wanted
            pooled, share = np.empty((len(rows), start.shape[1]), np.float32), _weight(pooling, hops)
            take_rows(start.numpy(), rows, share, pooled)
            self.pool = Pool(RowSubset.of(rows, len(start)), pooled, share)

    def hop(self, table: StoredTable, keep: Keep, last: bool) -> StoredTable:
        """Sum over the neighbours' table of the hop before."""
        made = self.side.product(table, self.wanted if last else None, keep=keep, pool=self.pool)
        self.tables.append(torch.from_numpy(made.numbers) if keep in ("numbers", "both") else self.tables[0][:0])
        return made

    def pooled(self) -> Tensor:
        """The pooled table; where rows were wanted, the others begin with NaN."""
        if self.pooling == "concat":
            return torch.cat(self.tables, dim=1)
        if self.wanted is None:
            return torch.from_numpy(self.pool.pooled)
        table = np.empty(self.tables[0].shape, np.float32)
        table[:, 0] = np.nan
        put_rows(table, self.wanted, self.pool.pooled)
        return torch.from_numpy(table)


def _keeps(read: bool, last: bool) -> Keep:
    """What must stay of a hop: its numbers if somebody reads them, what the next hop gathers from unless it is the last."""
    if last:
        return "numbers" if read else "nothing"
    return "both" if read else "stored"


@dataclass(frozen=True)
class _Share:
    """What reaches one hop from outside: the gradients of its tables, and its part of the pooled tables'."""

    hop: int
    hops: int
    pooling: Pooling
    users: Tensor | None
    items: Tensor | None
    pooled_users: Tensor | None
    pooled_items: Tensor | None

    def add_to_users(self, into: Tensor) -> None:
        """Add to (n_users, size)."""
        self._add(into, self.users, self.pooled_users)

    def add_to_items(self, into: Tensor) -> None:
        """Add to (n_items, size)."""
        self._add(into, self.items, self.pooled_items)

    def _add(self, into: Tensor, own: Tensor | None, pooled: Tensor | None) -> None:
        size = into.shape[1]
        part = slice(self.hop * size, (self.hop + 1) * size) if self.pooling == "concat" else slice(None)
        _add(into, own, slice(None), 1.0)
        _add(into, pooled, part, _weight(self.pooling, self.hops))


def _backward(graph: Graph, shares: list[_Share], users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    users, items = torch.zeros_like(users), torch.zeros_like(items)
    for share in reversed(shares):
        if share is not shares[-1]:
            users, items = graph.hop(users, items)
        share.add_to_users(users)
        share.add_to_items(items)
    return users, items


def dense(gradient: Tensor) -> Tensor:
    """A gradient of sparse rows as a table; any other as it is."""
    if gradient.layout != torch.sparse_coo:
        return gradient
    table = torch.zeros(gradient.shape, device=gradient.device)
    _add(table, gradient, slice(None), 1.0)
    return table


def _in_order(gradient: Tensor | None) -> Tensor | None:
    """The same with its rows one after another in memory, since every hop reads those of a pooled table."""
    if gradient is None or gradient.layout != torch.sparse_coo or gradient._values().is_contiguous():
        return gradient
    values = gradient._values().contiguous()
    return torch.sparse_coo_tensor(gradient._indices(), values, gradient.shape, check_invariants=False)


def _weight(pooling: Pooling, hops: int) -> float:
    return 1 / (hops + 1) if pooling == "mean" else 1.0


def _add(into: Tensor, gradient: Tensor | None, part: slice, weight: float) -> None:
    """Add some columns of a gradient, sparse rows or dense, times a weight."""
    if gradient is None:
        return
    if gradient.layout != torch.sparse_coo:
        into.add_(gradient[:, part], alpha=weight)
        return
    index, rows = gradient._indices()[0], gradient._values()[:, part]
    if into.device.type != "cpu":
        into.index_add_(0, index, rows, alpha=weight)
        return
    add_rows(into.numpy(), index.numpy(), rows.contiguous().numpy(), weight)
