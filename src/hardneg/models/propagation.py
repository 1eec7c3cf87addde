"""Propagation over the graph, forward and backward, as one step of automatic differentiation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.errors import DataError
from hardneg.models.graph import NO_POOL, Graph, GraphSide, Keep, PooledRows, StoredTable
from hardneg.models.kernels import add_rows, put_rows, take_rows
from hardneg.models.noise import HopNoise, SideName
from hardneg.types import Embeddings, Indices, Pooling, RequiredRows, pool


def propagate(
    graphs: Sequence[Graph],
    users: Tensor,
    items: Tensor,
    *,
    pooling: Pooling,
    required: RequiredRows | None = None,
    noise: HopNoise | None = None,
) -> Embeddings:
    """Compute E^(l+1) = graph x E^(l), with one graph for each hop; hop 0 is users (n_users, size) and items (n_items, size).

    noise: added to every hop above 0, before the next one; the gradient takes it for constant. required: rows that will be read of the last hop and of the pooled tables, and sides whose hops above 0 are read. Other
    rows are not computed (they start with NaN), other tables are empty. Computed rows have the same bits either way.
    """
    if users.dtype != torch.float32 or items.dtype != torch.float32:
        raise DataError(f"found tables of {users.dtype}, expected torch.float32; keep the model's numbers as they are")
    hops = len(graphs)
    if hops == 0:
        return Embeddings((users,), (items,), pooling)
    required = required if graphs[0].uses_numba(users.device) else None
    arguments = tuple(graphs), pooling, required, noise, users, items
    tables: tuple[Tensor, ...] = _Propagate.apply(*arguments)  # type: ignore[no-untyped-call]
    user_hops, item_hops, pooled = tables[: hops + 1], tables[hops + 1 : -2], tables[-2:]
    return Embeddings(user_hops, item_hops, pooling, pooled=(pooled[0], pooled[1]))


class _Propagate(torch.autograd.Function):
    """Autograd function of all hops.

    Every graph is symmetric, so backward is the same products in reverse: nothing is transposed or saved per hop.
    Gradients may arrive as sparse rows, from `gather_rows`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        graphs: tuple[Graph, ...],
        pooling: Pooling,
        required: RequiredRows | None,
        noise: HopNoise | None,
        users: Tensor,
        items: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.graphs, ctx.pooling, ctx.takes_sparse = graphs, pooling, True
        ctx.tables = (users.detach().contiguous(), items.detach().contiguous())
        ctx.set_materialize_grads(False)
        if graphs[0].uses_numba(users.device):
            user_hops, item_hops, pooled = _numba_hops(graphs, pooling, required, noise, *ctx.tables)
        else:
            user_hops, item_hops, pooled = _torch_hops(graphs, pooling, noise, *ctx.tables)
        return users, *user_hops, items, *item_hops, *pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        hops, size = len(ctx.graphs), ctx.tables[0].shape[1]
        *of_hops, pooled_users, pooled_items = map(_contiguous_rows, gradients)
        users, items = map(torch.zeros_like, ctx.tables)
        for hop in range(hops, -1, -1):
            if hop < hops:
                users, items = ctx.graphs[hop].hop(users, items)
            columns = slice(hop * size, (hop + 1) * size) if ctx.pooling == "concat" else slice(None)
            for table, own, pooled in (
                (users, of_hops[hop], pooled_users),
                (items, of_hops[hops + 1 + hop], pooled_items),
            ):
                add_gradient(table, own)
                add_gradient(table, pooled, columns, _hop_weight(ctx.pooling, hops, hop))
        return None, None, None, None, users, items


def neighbour_sums(graph: Graph, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the graph with tables (n_users, size), (n_items, size), with gradients."""
    sums: tuple[Tensor, Tensor] = _Product.apply(graph, users, items)  # type: ignore[no-untyped-call]
    return sums


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, graph: Graph, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        ctx.graph = graph
        return graph.hop(users.detach().contiguous(), items.detach().contiguous())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, users: Tensor, items: Tensor) -> tuple[Tensor | None, ...]:
        return None, *ctx.graph.hop(users.contiguous(), items.contiguous())


Hops = tuple[list[Tensor], list[Tensor], tuple[Tensor, Tensor]]
"""Hops from 1 on of users and of items, and both pooled tables."""


def _torch_hops(
    graphs: tuple[Graph, ...], pooling: Pooling, noise: HopNoise | None, users: Tensor, items: Tensor
) -> Hops:
    user_hops, item_hops = [users], [items]
    for hop, graph in enumerate(graphs, 1):
        users, items = graph.torch_hop(users, items)
        if noise is not None:
            noise.add_to(users, "users", hop)
            noise.add_to(items, "items", hop)
        user_hops.append(users)
        item_hops.append(items)
    return user_hops[1:], item_hops[1:], (pool(tuple(user_hops), pooling), pool(tuple(item_hops), pooling))


def _numba_hops(
    graphs: tuple[Graph, ...],
    pooling: Pooling,
    required: RequiredRows | None,
    noise: HopNoise | None,
    users: Tensor,
    items: Tensor,
) -> Hops:
    hops = len(graphs)
    user_side = _Side("users", users, None if required is None else required.users, pooling, hops, noise)
    item_side = _Side("items", items, None if required is None else required.items, pooling, hops, noise)
    reads = "both" if required is None or pooling == "concat" or noise is not None else required.hops
    stored_users, stored_items = graphs[0].store(users.numpy()), graphs[0].store(items.numpy())
    for hop, graph in enumerate(graphs, 1):
        last = hop == hops
        next_users = user_side.add_hop(graph.users, stored_items, _outputs(reads == "both", last), last)
        stored_items = item_side.add_hop(graph.items, stored_users, _outputs(reads != "none", last), last)
        stored_users = next_users
    return user_side.tables[1:], item_side.tables[1:], (user_side.pooled(), item_side.pooled())


class _Side:
    """Hop tables and pooled table of users or of items."""

    def __init__(
        self,
        name: SideName,
        start: Tensor,
        required: Indices | None,
        pooling: Pooling,
        hops: int,
        noise: HopNoise | None,
    ) -> None:
        self.name, self.required, self.pooling, self.noise = name, required, pooling, noise
        self.tables, self.pool = [start], NO_POOL
        if pooling != "concat":
            rows = np.arange(len(start)) if required is None else required
            pooled = np.empty((len(rows), start.shape[1]), np.float32)
            take_rows(start.numpy(), rows, _hop_weight(pooling, hops, 0), pooled)
            positions = np.full(len(start), -1, np.int32)
            positions[rows] = np.arange(len(rows), dtype=np.int32)
            self.pool = PooledRows(pooled, _hop_weight(pooling, hops, 1), positions)

    def add_hop(self, side: GraphSide, table: StoredTable, keep: Keep, last: bool) -> StoredTable:
        """Compute the next hop from the neighbours' table of the current one."""
        rows = self.required if last else None
        product = side.product(table, rows, keep=keep, pool=self.pool)
        if self.noise is not None:
            self.noise.add_to(torch.from_numpy(product.numbers), self.name, len(self.tables), rows, self.pool)
        self.tables.append(torch.from_numpy(product.numbers) if keep in ("numbers", "both") else self.tables[0][:0])
        return product

    def pooled(self) -> Tensor:
        """Return the pooled table; rows that are not required start with NaN."""
        if self.pooling == "concat":
            return torch.cat(self.tables, dim=1)
        if self.required is None:
            return torch.from_numpy(self.pool.pooled)
        table = np.empty(self.tables[0].shape, np.float32)
        table[:, 0] = np.nan
        put_rows(table, self.required, self.pool.pooled)
        return torch.from_numpy(table)


def _outputs(read: bool, last: bool) -> Keep:
    """Return the outputs of a hop: numbers if it is read, and the form for the next hop unless it is the last."""
    if last:
        return "numbers" if read else "nothing"
    return "both" if read else "stored"


def to_dense(gradient: Tensor) -> Tensor:
    """Return a gradient of sparse rows as a table; any other unchanged."""
    if gradient.layout != torch.sparse_coo:
        return gradient
    table = torch.zeros(gradient.shape, device=gradient.device)
    add_gradient(table, gradient)
    return table


def _contiguous_rows(gradient: Tensor | None) -> Tensor | None:
    """Make sparse rows contiguous in memory, since every hop reads those of a pooled table."""
    if gradient is None or gradient.layout != torch.sparse_coo or gradient._values().is_contiguous():
        return gradient
    values = gradient._values().contiguous()
    return torch.sparse_coo_tensor(gradient._indices(), values, gradient.shape, check_invariants=False)


def _hop_weight(pooling: Pooling, hops: int, hop: int) -> float:
    """Return the weight of one hop in the pooled table."""
    if pooling == "mean-from-1":
        return 1 / hops if hop else 0.0
    return 1 / (hops + 1) if pooling == "mean" else 1.0


def add_gradient(into: Tensor, gradient: Tensor | None, columns: slice = slice(None), weight: float = 1.0) -> None:
    """Add weight x some columns of a gradient, which has sparse rows or is dense."""
    if gradient is None:
        return
    if gradient.layout != torch.sparse_coo:
        into.add_(gradient[:, columns], alpha=weight)
        return
    index, rows = gradient._indices()[0], gradient._values()[:, columns]
    if into.device.type != "cpu":
        into.index_add_(0, index, rows, alpha=weight)
        return
    add_rows(into.numpy(), index.numpy(), rows.contiguous().numpy(), weight)
