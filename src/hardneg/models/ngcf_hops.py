"""The hops of NGCF, forward and backward, as one step of automatic differentiation on compiled code."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.compiled import in_chunks
from hardneg.models.graph import Graph, GraphSide, PooledRows
from hardneg.models.ngcf_kernels import (
    activate_rows,
    add_gradient_of_units,
    deactivate_rows,
    join_rows,
    put_units,
    split_rows,
)
from hardneg.models.noise import MessageDropout, SideName
from hardneg.models.propagation import add_gradient
from hardneg.types import Embeddings, Floats, Indices, RequiredRows

SLOPE = 0.2
"""Slope of the leaky ReLU below 0."""
CHUNK = 2048
"""Rows that are computed at a time, so that what a pass writes is still in the cache for the next."""
SIDES: tuple[SideName, SideName] = ("users", "items")


def compute_hops(
    graph: Graph,
    users: Tensor,
    items: Tensor,
    layers: list[tuple[Tensor, Tensor]],
    *,
    required: RequiredRows | None,
    dropout: MessageDropout | None,
) -> Embeddings:
    """Return the hops' rows of length 1, and the concatenation of hop 0 and them. CPU tensors alone.

    layers: weights (2 x size, size) and bias (size,) of every hop. required: see `propagate`; dropout: None for none.
    """
    numbers = [number for layer in layers for number in layer]
    tables: tuple[Tensor, ...] = _Hops.apply(graph, required, dropout, users, items, *numbers)  # type: ignore[no-untyped-call]
    of_users, of_items, pooled = tables[: len(layers)], tables[len(layers) : -2], tables[-2:]
    return Embeddings((users, *of_users), (items, *of_items), "concat", pooled=(pooled[0], pooled[1]))


@dataclass(frozen=True)
class _Hop:
    """A hop of one side. rows: those computed. own, near: its inputs (n, size), of the computed rows at least.

    following: (len(rows), size), the next table. lengths: (len(rows),), of its rows.
    """

    rows: Indices
    own: Floats
    near: Floats
    following: Floats
    lengths: Floats

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield some positions of rows at a time, and [own + near, own * near] of these rows, (len, 2 x size)."""
        for first in range(0, len(self.rows), CHUNK):
            part = slice(first, min(first + CHUNK, len(self.rows)))
            rows = self.rows[part]
            joined = np.empty((len(rows), 2 * self.own.shape[1]), np.float32)
            in_chunks(join_rows, len(rows), rows, self.own, self.near, joined)
            yield part, torch.from_numpy(joined)

    def places(self, rows: Indices) -> Indices:
        """Return the positions of some computed rows."""
        return rows if len(self.rows) == len(self.own) else np.searchsorted(self.rows, rows)

    def put(self, rows: Indices, out: Floats, column: int = 0) -> None:
        """Write some computed rows, divided by their lengths, to these rows of a table, from a column on."""
        in_chunks(put_units, len(rows), rows, self.places(rows), self.following, self.lengths, out, column)

    def add_gradient(self, gradient: Tensor | None, into: Floats, column: int = 0) -> None:
        """Add the gradient of `put`'s table, dense or of sparse rows, to that of the next table (len(rows), size)."""
        if gradient is None:
            return
        if gradient.layout == torch.sparse_coo:
            rows, numbers = gradient._indices()[0].numpy(), gradient._values().contiguous().numpy()
        else:
            rows, numbers = self.rows, gradient.numpy()[self.rows]
        add_gradient_of_units(self.places(rows), numbers, column, self.following, self.lengths, into)


class _Hops(torch.autograd.Function):
    """The hops of both sides, with their gradients.

    A hop has one product with its weights, [e + n, e * n] [W1; W2], of some rows at a time, and a pass before and after it.
    The graph is symmetric, so backward has the same products. Gradients may arrive as sparse rows, from `gather_rows`.
    """

    @staticmethod
    def forward(
        ctx: Any,
        graph: Graph,
        required: RequiredRows | None,
        dropout: MessageDropout | None,
        users: Tensor,
        items: Tensor,
        *numbers: Tensor,
    ) -> tuple[Tensor, ...]:
        ctx.graph, ctx.dropout, ctx.layers = graph, dropout, list(zip(numbers[::2], numbers[1::2], strict=True))
        ctx.set_materialize_grads(False)
        ctx.takes_sparse = True
        starts = [table.detach().contiguous().numpy() for table in (users, items)]
        read = _rows_read(required, starts)
        tables, ctx.hops = starts, []
        for number, layer in enumerate(ctx.layers, 1):
            last = number == len(ctx.layers)
            near = _neighbour_sums(graph, tables, read if last else None)
            rows = read if last else [np.arange(len(table)) for table in tables]
            hop = [
                _compute(rows[side], (tables[side], near[side]), layer, dropout, name, number)
                for side, name in enumerate(SIDES)
            ]
            ctx.hops.append(hop)
            tables = [side.following for side in hop]
        reads = required is None or required.hops != "none"
        units = [
            _units(hop[side], len(starts[side])) if reads else torch.empty((0, starts[side].shape[1]))
            for side in (0, 1)
            for hop in ctx.hops
        ]
        pooled = [_concatenate(starts[side], [hop[side] for hop in ctx.hops], read[side]) for side in (0, 1)]
        return *units, *pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        n_hops, of_pooled = len(ctx.hops), gradients[-2:]
        size = ctx.hops[0][0].own.shape[1]
        of_tables: list[Floats] | None = None
        of_layers: list[Tensor] = []
        for number in range(n_hops, 0, -1):
            hop, (weights, bias) = ctx.hops[number - 1], ctx.layers[number - 1]
            of_layer = torch.zeros_like(weights), torch.zeros_like(bias)
            of_inputs = []
            for side, one in enumerate(hop):
                gradient = np.zeros_like(one.following) if of_tables is None else of_tables[side]
                one.add_gradient(gradients[side * n_hops + number - 1], gradient)
                one.add_gradient(of_pooled[side], gradient, number * size)
                of_inputs.append(_differentiate(one, gradient, weights, ctx.dropout, of_layer))
            of_tables, of_near = map(list, zip(*of_inputs, strict=True))
            _add_neighbour_sums(ctx.graph, of_near, of_tables)
            of_layers = [*of_layer, *of_layers]
        starts = [torch.from_numpy(table) for table in of_tables or ()]
        for table, pooled in zip(starts, of_pooled, strict=True):
            add_gradient(table, pooled, slice(0, size))
        return None, None, None, *starts, *of_layers


def _compute(
    rows: Indices,
    inputs: tuple[Floats, Floats],
    layer: tuple[Tensor, Tensor],
    dropout: MessageDropout | None,
    side: SideName,
    number: int,
) -> _Hop:
    """Compute a hop of one side for some rows. inputs: the current table and the sums of its neighbours."""
    hop = _Hop(rows, *inputs, np.empty((len(rows), inputs[0].shape[1]), np.float32), np.empty(len(rows), np.float32))
    share = 0.0 if dropout is None else dropout.share
    counter = (np.uint64(0), 0, 0) if dropout is None else dropout.counter(side, number)
    for part, joined in hop.chunks():
        following, lengths = hop.following[part], hop.lengths[part]
        torch.addmm(layer[1], joined, layer[0], out=torch.from_numpy(following))
        in_chunks(activate_rows, len(following), rows[part], counter, share, SLOPE, following, lengths)
    return hop


def _differentiate(
    hop: _Hop, gradient: Floats, weights: Tensor, dropout: MessageDropout | None, of_layer: tuple[Tensor, Tensor]
) -> tuple[Floats, Floats]:
    """Return the gradients of a hop's two inputs, from that of its table, which is changed; add those of the layer."""
    make = np.empty_like if len(hop.rows) == len(hop.own) else np.zeros_like
    of_own, of_near = make(hop.own), make(hop.own)
    # Dropout sets a number to 0 where its factor is 0.
    factor, at_zero = (1.0, SLOPE) if dropout is None else (1 / (1 - dropout.share), 0.0)
    for part, joined in hop.chunks():
        own = gradient[part]
        in_chunks(deactivate_rows, len(own), hop.following[part], SLOPE, at_zero, factor, own)
        of_products = torch.from_numpy(own)
        of_layer[0].addmm_(joined.T, of_products)
        of_layer[1].add_(of_products.sum(dim=0))
        of_joined = (of_products @ weights.T).numpy()
        in_chunks(split_rows, len(own), hop.rows[part], hop.own, hop.near, of_joined, of_own, of_near)
    return of_own, of_near


def _rows_read(required: RequiredRows | None, tables: list[Floats]) -> list[Indices]:
    if required is None:
        return [np.arange(len(table)) for table in tables]
    return [required.users, required.items]


def _sides(graph: Graph) -> tuple[GraphSide, GraphSide]:
    return graph.users, graph.items


def _neighbour_sums(graph: Graph, tables: list[Floats], rows: list[Indices] | None) -> list[Floats]:
    """Return the graph's product with both tables; other rows start with NaN."""
    others = [graph.store(table) for table in reversed(tables)]
    selected = rows or (None, None)
    return [side.product(other, own).numbers for side, other, own in zip(_sides(graph), others, selected, strict=True)]


def _add_neighbour_sums(graph: Graph, tables: list[Floats], into: list[Floats]) -> None:
    """Add the graph's product with both tables to two others, in the same pass."""
    others = [graph.store(table) for table in reversed(tables)]
    for side, other, out in zip(_sides(graph), others, into, strict=True):
        side.product(other, keep="nothing", pool=PooledRows(out, 1.0, np.arange(len(out), dtype=np.int32)))


def _units(hop: _Hop, n: int) -> Tensor:
    """Return a hop's rows, divided by their lengths, as a table (n, size); others start with NaN."""
    out = np.empty((n, hop.following.shape[1]), np.float32)
    if len(hop.rows) < n:
        out[:, 0] = np.nan
    hop.put(hop.rows, out)
    return torch.from_numpy(out)


def _concatenate(start: Floats, hops: list[_Hop], rows: Indices) -> Tensor:
    """Return hop 0 and the hops of one side beside each other, for some rows; others start with NaN."""
    size = start.shape[1]
    out = np.empty((len(start), size * (len(hops) + 1)), np.float32)
    if len(rows) < len(start):
        out[:, 0] = np.nan
    out[rows, :size] = start[rows]
    for number, hop in enumerate(hops, 1):
        hop.put(rows, out, number * size)
    return torch.from_numpy(out)
