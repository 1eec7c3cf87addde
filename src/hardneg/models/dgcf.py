"""DGCF: intents of user-item pairs, each with a graph of its own."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardneg.compiled import in_chunks
from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import MFModel, ModelConfig
from hardneg.models.graph import NO_POOL, NO_ROWS
from hardneg.models.intrinsics import AHEAD
from hardneg.models.kernels import edge_dots, products
from hardneg.random import generator
from hardneg.types import Batch, Embeddings, Indices, RequiredRows, TrainingPass

TINY = 1e-8
"""Smallest sum of weights and smallest square, so that roots have finite gradients."""


class Edges(nn.Module):
    """Both directions of every train pair, sorted by the row (users, then items) that they lead to.

    heads, tails: (edges,), the row of an edge and its neighbour. reverse: (edges,), the place of the opposite direction.
    """

    heads: Tensor
    tails: Tensor
    reverse: Tensor

    def __init__(self, train: Interactions) -> None:
        super().__init__()
        self.n = train.n_users + train.n_items
        ends = np.stack([train.users, train.items + train.n_users])
        heads, tails = np.concatenate([ends, ends[::-1]], axis=1)
        order = np.lexsort((tails, heads))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        opposite = np.concatenate([np.arange(len(train)) + len(train), np.arange(len(train))])
        counts = np.bincount(heads, minlength=self.n)
        self.starts: Indices = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.near = np.concatenate([tails[order], np.zeros(AHEAD, np.int64)]).astype(np.int32)
        for name, values in (("heads", heads[order]), ("tails", tails[order]), ("reverse", place[opposite][order])):
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(values)), persistent=False)

    def sums(self, weights: Tensor, table: Tensor) -> Tensor:
        """Return the weighted sums of neighbours (n, size); weights (edges,), table (n, size)."""
        if table.device.type != "cpu":
            rows = weights.unsqueeze(1) * table[self.tails]
            return torch.zeros_like(table).index_add(0, self.heads, rows)
        out = np.empty(tuple(table.shape), np.float32)
        matrix = self.starts, self.near, weights.contiguous().numpy()
        pool = NO_POOL.pooled, NO_POOL.weight, NO_POOL.positions
        in_chunks(products, self.n, np.arange(self.n), matrix, table.contiguous().numpy(), 1.0, out, NO_ROWS, 1.0, pool)
        return torch.from_numpy(out)

    def dots(self, heads: Tensor, tails: Tensor) -> Tensor:
        """Return the inner products (edges,) of rows of two tables (n, size), of the head and of the tail."""
        if heads.device.type != "cpu":
            return (heads[self.heads] * tails[self.tails]).sum(dim=1)
        out = np.empty(len(self.heads), np.float32)
        tables = heads.contiguous().numpy(), tails.contiguous().numpy()
        in_chunks(edge_dots, self.n, self.starts, self.near, *tables, out)
        return torch.from_numpy(out)


class _Sums(torch.autograd.Function):
    """`Edges.sums` with gradients for weights and table."""

    @staticmethod
    def forward(ctx: Any, edges: Edges, weights: Tensor, table: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(weights, table)
        return edges.sums(weights.detach(), table.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        edges, (weights, table) = ctx.edges, ctx.saved_tensors
        return None, edges.dots(gradient, table), edges.sums(weights[edges.reverse], gradient)


class _Dots(torch.autograd.Function):
    """`Edges.dots` with gradients for both tables."""

    @staticmethod
    def forward(ctx: Any, edges: Edges, heads: Tensor, tails: Tensor) -> Tensor:
        ctx.edges = edges
        ctx.save_for_backward(heads, tails)
        return edges.dots(heads.detach(), tails.detach())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        edges, (heads, tails) = ctx.edges, ctx.saved_tensors
        return None, edges.sums(gradient, tails), edges.sums(gradient[edges.reverse], heads)


class DGCFModel(MFModel):
    """Every intent is a part of the embedding; pairs are shared among intents by routing. Final: the mean of the hops.

    Training adds weight x the distance correlation of neighbouring intents, over random users and items: the same share
    of them as the batch is of the train pairs.
    """

    def __init__(self, train: Interactions, options: DGCF, *, seed: int) -> None:
        super().__init__(train, embedding_size=options.embedding_size, seed=seed)
        self.options, self.seed, self.n_pairs = options, seed, len(train)
        self.edges = Edges(train)

    def forward(self, required: RequiredRows | None = None) -> Embeddings:  # noqa: ARG002 - routing reads all rows
        """Propagate every hop."""
        tables, n_users = [torch.cat([self.users, self.items])], len(self.users)
        for _ in range(self.options.hops):
            tables.append(self._route(tables[-1]))
        # Hop 0 is the trained tables themselves, which the L2 penalty reads.
        users = self.users, *(table[:n_users] for table in tables[1:])
        items = self.items, *(table[n_users:] for table in tables[1:])
        return Embeddings(users, items, "mean")

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Propagate, and measure the dependence of intents on random users and items."""
        embeddings = self(required)
        if self.options.weight == 0 or self.options.intents == 1:
            return TrainingPass(embeddings)
        sampled = [
            table[self._draw(side, len(table), batch).to(table.device)]
            for side, table in (("users", embeddings.final_users), ("items", embeddings.final_items))
        ]
        parts = torch.cat(sampled).chunk(self.options.intents, dim=1)
        total = torch.stack([distance_correlation(*pair) for pair in pairwise(parts)]).sum()
        pairs = self.options.intents * (self.options.intents + 1) / 2
        return TrainingPass(embeddings, auxiliary=self.options.weight * total / pairs)

    def _draw(self, side: str, n: int, batch: Batch) -> Tensor:
        size = max(2, min(n, round(n * len(batch.rows) / self.n_pairs)))
        rng = generator(self.seed, f"nodes of intents, {side}, step {batch.step}", batch.epoch)
        return torch.from_numpy(np.sort(rng.permutation(n)[:size]))

    def _route(self, table: Tensor) -> Tensor:
        """Return the next hop (n, size): weights of pairs and tables of intents in turn (eq. 6 to 11)."""
        edges, intents = self.edges, [part.contiguous() for part in table.chunk(self.options.intents, dim=1)]
        tails = [torch.tanh(F.normalize(part, dim=1)) for part in intents]
        logits = torch.ones(len(edges.heads), len(intents), device=table.device)
        for iteration in range(self.options.iterations):
            weights = [self._normalise(share) for share in logits.softmax(dim=1).unbind(dim=1)]
            following: list[Tensor] = [
                _Sums.apply(edges, own, part)  # type: ignore[no-untyped-call]
                for own, part in zip(weights, intents, strict=True)
            ]
            if iteration + 1 < self.options.iterations:
                affinities = [
                    _Dots.apply(edges, F.normalize(part, dim=1), tail)  # type: ignore[no-untyped-call]
                    for part, tail in zip(following, tails, strict=True)
                ]
                logits = logits + torch.stack(affinities, dim=1)
        return torch.cat(following, dim=1)

    def _normalise(self, shares: Tensor) -> Tensor:
        """Divide the shares of pairs (edges,) by the roots of the sums of both of their ends (eq. 7 and 8)."""
        edges = self.edges
        sums = torch.zeros(edges.n, device=shares.device).index_add(0, edges.heads, shares)
        scale = sums.clamp(min=TINY).rsqrt()
        return shares * scale[edges.heads] * scale[edges.tails]


def distance_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return the distance correlation of rows (n, size) of two tables, in [0, 1] (Szekely et al., 2007)."""
    first, second = _centred_distances(one), _centred_distances(other)
    covariance, variances = (first * second).mean(), first.square().mean() * second.square().mean()
    return covariance.clamp(min=0).add(TINY).sqrt() / variances.clamp(min=0).add(TINY).sqrt().add(TINY).sqrt()


def _centred_distances(rows: Tensor) -> Tensor:
    """Return ||x_i - x_j|| minus the means of row i and of column j, plus the mean of all."""
    squares = rows.square().sum(dim=1, keepdim=True)
    distances = (squares - 2 * rows @ rows.T + squares.T).clamp(min=0).add(TINY).sqrt()
    return distances - distances.mean(dim=0, keepdim=True) - distances.mean(dim=1, keepdim=True) + distances.mean()


class DGCF(ModelConfig):
    """DGCF (Wang et al., 2020): intents, each with its own part of the embedding and its own weights of the pairs.

    Distances of the correlation are r - 2 X X' + r', as in the definition; RecBole's copy takes r - 2 X (X' + r'). Unlike
    in the release, weights of pairs after the last iteration are not computed, since nothing reads them.
    """

    kind: Literal["dgcf"] = "dgcf"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings, a multiple of `intents`."""
    intents: Annotated[int, Field(ge=1, le=64)] = 4
    """Number of intents; the paper finds 4 best."""
    hops: Annotated[int, Field(ge=1, le=16)] = 1
    """Number of propagation steps; the paper searches 1 to 3."""
    iterations: Annotated[PositiveInt, Field(le=16)] = 2
    """Routing iterations of a hop."""
    weight: NonNegativeFloat = 0.01
    """Weight of the distance correlation of neighbouring intents."""

    @model_validator(mode="after")
    def _require_equal_parts(self) -> Self:
        if self.embedding_size % self.intents:
            raise ValueError(
                f"found embedding_size {self.embedding_size} and {self.intents} intents, expected a multiple; change one"
            )
        return self

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return DGCFModel(train, self, seed=seed)
