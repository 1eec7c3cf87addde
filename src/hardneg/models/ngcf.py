"""NGCF: propagation with trained weights, products of neighbours and a nonlinearity."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import MFModel, ModelConfig, xavier
from hardneg.models.graph import Graph
from hardneg.models.noise import MessageDropout, SideName
from hardneg.models.propagation import neighbour_sums
from hardneg.types import Batch, Embeddings, RequiredRows, TrainingPass

SLOPE = 0.2
"""Slope of the leaky ReLU below 0."""


class NGCFLayer(nn.Module):
    """One hop: LeakyReLU((e + n) W1 + (e * n) W2 + b), where n is the normalised sum of the neighbours of e (eq. 7)."""

    def __init__(self, size: int, hop: int, *, seed: int) -> None:
        super().__init__()
        self.of_sums = xavier(size, size, seed=seed, purpose=f"weights of sums, hop {hop}")
        self.of_products = xavier(size, size, seed=seed, purpose=f"weights of products, hop {hop}")
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, own: Tensor, near: Tensor) -> Tensor:
        """Return the next rows (n, size) from the rows and the sums of their neighbours. A row without pairs has n = 0."""
        messages = torch.addmm(self.bias, own + near, self.of_sums) + (own * near) @ self.of_products
        return F.leaky_relu(messages, SLOPE)


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
        users: Tensor = self.users
        items: Tensor = self.items
        user_hops, item_hops = list[Tensor]([users]), list[Tensor]([items])
        for hop, layer in enumerate(self.layers, 1):
            rows = _Rows(required if hop == len(self.layers) else None, users, items)
            near_users, near_items = neighbour_sums(self.graph, users, items, rows.required)
            users = layer(rows.select(users, rows.users), near_users)
            items = layer(rows.select(items, rows.items), near_items)
            if dropout is not None:
                users = _drop(users, dropout, "users", hop, rows.users)
                items = _drop(items, dropout, "items", hop, rows.items)
            user_hops.append(rows.put(F.normalize(users, dim=1), rows.users, len(self.users)))
            item_hops.append(rows.put(F.normalize(items, dim=1), rows.items, len(self.items)))
        return Embeddings(tuple(user_hops), tuple(item_hops), "concat")


class _Rows:
    """Rows of a hop that are computed: all, or those required of the last hop; the others start with NaN."""

    def __init__(self, required: RequiredRows | None, users: Tensor, items: Tensor) -> None:
        self.required = required
        self.users = None if required is None else torch.from_numpy(required.users).to(users.device)
        self.items = None if required is None else torch.from_numpy(required.items).to(items.device)

    def select(self, table: Tensor, rows: Tensor | None) -> Tensor:
        return table if rows is None else table.index_select(0, rows)

    def put(self, computed: Tensor, rows: Tensor | None, n: int) -> Tensor:
        if rows is None:
            return computed
        table = torch.full((n, computed.shape[1]), torch.nan, device=computed.device)
        return table.index_copy(0, rows, computed)


def _drop(table: Tensor, dropout: MessageDropout, side: SideName, hop: int, rows: Tensor | None) -> Tensor:
    index = torch.arange(len(table)) if rows is None else rows
    return table * dropout.factors(index, table.shape[1], side, hop).to(table.device)


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
