"""NGCF: propagation with trained weights, products of neighbours and a nonlinearity."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import MFModel, ModelConfig, xavier
from hardneg.models.graph import Graph
from hardneg.models.noise import MessageDropout, SideName
from hardneg.models.propagation import neighbour_sums
from hardneg.types import Batch, Embeddings, RequiredRows, TrainingPass

SLOPE = 0.2
"""Slope of the leaky ReLU below 0."""
SHORTEST = 1e-12
"""Lower bound of the length that a row is divided by."""


class NGCFLayer(nn.Module):
    """One hop: LeakyReLU((e + n) W1 + (e * n) W2 + b), where n is the normalised sum of the neighbours of e (eq. 7)."""

    def __init__(self, size: int, hop: int, *, seed: int) -> None:
        super().__init__()
        self.of_sums = xavier(size, size, seed=seed, purpose=f"weights of sums, hop {hop}")
        self.of_products = xavier(size, size, seed=seed, purpose=f"weights of products, hop {hop}")
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, own: Tensor, near: Tensor, factors: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the next rows (n, size) from the rows and the sums of their neighbours, and the same of length 1.

        A row without pairs has n = 0. factors: (n, size), of dropout.
        """
        weights = torch.cat([self.of_sums, self.of_products])
        following, units = _Hop.apply(own, near, weights, self.bias, factors)  # type: ignore[no-untyped-call]
        return following, units


class _Hop(torch.autograd.Function):
    """The layer as one matrix product, [e + n, e * n] [W1; W2] + b. Tables are changed in place, where autograd copies them.

    The gradient of rows of length 1 may be sparse, and is then computed for its rows alone.
    """

    @staticmethod
    def forward(
        ctx: Any, own: Tensor, near: Tensor, weights: Tensor, bias: Tensor, factors: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        size = own.shape[1]
        inputs = own.new_empty((len(own), 2 * size))
        torch.add(own, near, out=inputs[:, :size])
        torch.mul(own, near, out=inputs[:, size:])
        following = F.leaky_relu_(torch.addmm(bias, inputs, weights), SLOPE)
        if factors is not None:
            following.mul_(factors)
        lengths = following.norm(dim=1, keepdim=True).clamp_min_(SHORTEST)
        ctx.save_for_backward(own, near, inputs, weights, following, lengths, factors)
        ctx.takes_sparse = True
        ctx.set_materialize_grads(False)
        return following, following / lengths

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_following: Tensor | None, of_units: Tensor | None) -> tuple[Tensor | None, ...]:
        own, near, inputs, weights, following, lengths, factors = ctx.saved_tensors
        gradient = torch.zeros_like(following) if of_following is None else of_following.clone()
        if of_units is not None:
            _add_gradient_of_units(gradient, of_units, following, lengths)
        # Numbers that dropout set to 0 have the slope of 0 here, and are multiplied by 0.
        gradient = torch.ops.aten.leaky_relu_backward(gradient, following, SLOPE, True)
        if factors is not None:
            gradient.mul_(factors)
        of_sums, of_products = (gradient @ weights.T).chunk(2, dim=1)
        of_own, of_near = (torch.addcmul(of_sums, of_products, other) for other in (near, own))
        return of_own, of_near, inputs.T @ gradient, gradient.sum(dim=0), None


def _add_gradient_of_units(into: Tensor, of_units: Tensor, rows: Tensor, lengths: Tensor) -> None:
    """Add the gradient of rows (n, size) of which rows / lengths have the gradient `of_units`, sparse or not."""
    if of_units.layout != torch.sparse_coo:
        into.add_(_gradient_through_length(of_units, rows, lengths))
        return
    index = of_units._indices()[0]
    into.index_add_(0, index, _gradient_through_length(of_units._values(), rows[index], lengths[index]))


def _gradient_through_length(of_units: Tensor, rows: Tensor, lengths: Tensor) -> Tensor:
    units = rows / lengths
    return (of_units - units * (units * of_units).sum(dim=1, keepdim=True)) / lengths


class _Concatenate(torch.autograd.Function):
    """Hops (n, size) beside each other: (n, hops x size), whose gradient may be sparse, and then is for every hop.

    rows: those that will be read, ascending, and then the only ones of the last hop; others start with NaN. None for all.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor | None, *hops: Tensor) -> Tensor:
        ctx.takes_sparse, ctx.rows, ctx.shapes = True, rows, [hop.shape for hop in hops]
        if rows is None:
            return torch.cat(hops, dim=1)
        read = [*(hop.index_select(0, rows) for hop in hops[:-1]), hops[-1]]
        return _put_rows(torch.cat(read, dim=1), rows, len(hops[0]))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, shapes = ctx.rows, ctx.shapes
        if gradient.layout != torch.sparse_coo:
            *parts, last = torch.split(gradient, shapes[0][1], dim=1)
            return None, *parts, last if rows is None else last.index_select(0, rows)
        index = gradient._indices()
        places = [index] * (len(shapes) - 1) + [index if rows is None else torch.searchsorted(rows, index)]
        hops = zip(places, torch.split(gradient._values(), shapes[0][1], dim=1), shapes, strict=True)
        return None, *(torch.sparse_coo_tensor(*hop, check_invariants=False) for hop in hops)


def _put_rows(computed: Tensor, rows: Tensor, n: int) -> Tensor:
    """Return a table (n, size) with these rows; others start with NaN."""
    table = computed.new_empty((n, computed.shape[1]))
    table[:, 0] = torch.nan
    return table.index_copy(0, rows, computed)


class NGCFModel(MFModel):
    """Hop tables of length 1 per row, concatenated with the trained hop 0.

    Dropout changes training alone. Without it, a training step has the bits of a call.
    """

    def __init__(self, train: Interactions, options: NGCF, *, seed: int) -> None:
        size = options.embedding_size
        super().__init__(train, embedding_size=size, seed=seed)
        self.graph, self.final_size = Graph(train), size * (options.hops + 1)
        self.dropout, self.seed = options.dropout, seed
        self.layers = nn.ModuleList(NGCFLayer(size, hop, seed=seed) for hop in range(1, options.hops + 1))

    def forward(self, required: RequiredRows | None = None) -> Embeddings:
        """Propagate without dropout."""
        return self._propagate(required, None)

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Propagate with the dropout of a step."""
        dropout = MessageDropout(self.dropout, self.seed, batch) if self.dropout else None
        return TrainingPass(self._propagate(required, dropout))

    def _propagate(self, required: RequiredRows | None, dropout: MessageDropout | None) -> Embeddings:
        tables: dict[SideName, Tensor] = {"users": self.users, "items": self.items}
        hops: dict[SideName, list[Tensor]] = {side: [table] for side, table in tables.items()}
        needed = _rows_of(required, self.users.device)
        for hop, layer in enumerate(self.layers, 1):
            last = hop == len(self.layers)
            near = neighbour_sums(self.graph, tables["users"], tables["items"], required if last else None)
            for side, sums in zip(tables, near, strict=True):
                rows = needed[side] if last else None
                own = tables[side] if rows is None else tables[side].index_select(0, rows)
                index = torch.arange(len(own)) if rows is None else rows
                factors = None if dropout is None else dropout.factors(index, own.shape[1], side, hop).to(own.device)
                tables[side], units = layer(own, sums, factors)
                hops[side].append(units)
        users, items = (_Concatenate.apply(needed[side], *hops[side]) for side in tables)  # type: ignore[no-untyped-call]
        for side, table in hops.items():
            if (rows := needed[side]) is not None:
                table[-1] = _put_rows(table[-1], rows, len(table[0]))
        return Embeddings(tuple(hops["users"]), tuple(hops["items"]), "concat", pooled=(users, items))


def _rows_of(required: RequiredRows | None, device: torch.device) -> dict[SideName, Tensor | None]:
    if required is None:
        return {"users": None, "items": None}
    return {
        "users": torch.from_numpy(required.users).to(device),
        "items": torch.from_numpy(required.items).to(device),
    }


class NGCF(ModelConfig):
    """NGCF (Wang et al., 2019), eq. 7: neighbours and their products with a node, by trained weights.

    The sum of both terms goes through one leaky ReLU, with the symmetric normalisation, as in the paper. Differences of
    releases: the authors' applies it to each term and normalises by rows; MixGCF's copy leaves out the term e W1 of the
    node itself. L2 is of hop 0 alone, not of the weights.
    """

    kind: Literal["ngcf"] = "ngcf"
    embedding_size: VectorSize = 64
    """Size of the embeddings of every hop; a final embedding has hops + 1 times as many numbers."""
    hops: Annotated[int, Field(ge=1, le=16)] = 3
    """Number of propagation steps."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    """Share of the numbers of a hop that are 0 in a training step; the paper searches 0 to 0.8."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return NGCFModel(train, self, seed=seed)
