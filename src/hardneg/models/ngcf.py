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
from hardneg.models.ngcf_hops import SLOPE, compute_hops
from hardneg.models.noise import MessageDropout, SideName
from hardneg.models.propagation import neighbour_sums
from hardneg.types import Batch, Embeddings, RequiredRows, TrainingPass


class NGCFLayer(nn.Module):
    """One hop: LeakyReLU((e + n) W1 + (e * n) W2 + b), where n is the normalised sum of the neighbours of e (eq. 7)."""

    def __init__(self, size: int, hop: int, *, seed: int) -> None:
        super().__init__()
        self.of_sums = xavier(size, size, seed=seed, purpose=f"weights of sums, hop {hop}")
        self.of_products = xavier(size, size, seed=seed, purpose=f"weights of products, hop {hop}")
        self.bias = nn.Parameter(torch.zeros(size))

    def forward(self, own: Tensor, near: Tensor) -> Tensor:
        """Return the next rows (n, size) from the rows and the sums of their neighbours; without pairs n = 0."""
        return F.leaky_relu((own + near) @ self.of_sums + (own * near) @ self.of_products + self.bias, SLOPE)

    def joined(self) -> tuple[Tensor, Tensor]:
        """Return both weights as one matrix (2 x size, size), and the bias."""
        return torch.cat([self.of_sums, self.of_products]), self.bias


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
        if not self.graph.uses_numba(self.users.device):
            return self._torch_hops(dropout)
        layers = [layer.joined() for layer in self.layers]  # type: ignore[operator]
        return compute_hops(self.graph, self.users, self.items, layers, required=required, dropout=dropout)

    def _torch_hops(self, dropout: MessageDropout | None) -> Embeddings:
        """Compute all rows by torch's products and automatic differentiation."""
        tables: dict[SideName, Tensor] = {"users": self.users, "items": self.items}
        hops: dict[SideName, list[Tensor]] = {side: [table] for side, table in tables.items()}
        for hop, layer in enumerate(self.layers, 1):
            near = neighbour_sums(self.graph, tables["users"], tables["items"])
            for side, sums in zip(tables, near, strict=True):
                following = layer(tables[side], sums)
                if dropout is not None:
                    rows = torch.arange(len(following))
                    following = following * dropout.factors(rows, following.shape[1], side, hop).to(following.device)
                tables[side] = following
                hops[side].append(F.normalize(following, dim=1))
        return Embeddings(tuple(hops["users"]), tuple(hops["items"]), "concat")


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
