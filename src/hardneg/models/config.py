"""Backbones: matrix factorisation and LightGCN, their options and names."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from pydantic import Field
from torch import nn

from hardneg.config import VectorSize, require_memory
from hardneg.data.interactions import Interactions
from hardneg.models.graph import Graph, Storage
from hardneg.models.propagation import propagate
from hardneg.plugins import PluginConfig, Registry
from hardneg.random import generator
from hardneg.types import Batch, Embeddings, Pooling, RequiredRows, TrainingPass

BYTES_PER_NUMBER = 4 * 4
"""Memory of a trained number: itself, its gradient and Adam's two moments."""


def xavier(rows: int, size: int, *, seed: int, purpose: str) -> nn.Parameter:
    """Draw (rows, size) uniformly within +-sqrt(6 / (rows + size)) (Glorot & Bengio, 2010)."""
    require_memory(rows * size * BYTES_PER_NUMBER, f"a table of {rows:,} {purpose} with embedding_size {size:,}")
    bound = np.sqrt(6.0 / (rows + size))
    start = generator(seed, f"start of {purpose}").uniform(-bound, bound, (rows, size)).astype(np.float32)
    return nn.Parameter(torch.from_numpy(start))


class MFModel(nn.Module):
    """A backbone with hop 0 only."""

    def __init__(self, train: Interactions, *, embedding_size: int = 64, seed: int = 0) -> None:
        super().__init__()
        self.final_size = embedding_size
        self.users = xavier(train.n_users, embedding_size, seed=seed, purpose="users")
        self.items = xavier(train.n_items, embedding_size, seed=seed, purpose="items")

    def forward(self, required: RequiredRows | None = None) -> Embeddings:  # noqa: ARG002 - nothing is computed
        """Return the tables: users (n_users, size), items (n_items, size)."""
        return Embeddings((self.users,), (self.items,), pooling="mean")


class LightGCNModel(MFModel):
    """E^(l+1) = D^-1/2 A D^-1/2 E^(l); the final embedding is the mean of hops 0..hops (eq. 3 and 4 of the paper).

    The graph contains training pairs only. The two hop-0 tables are the only parameters.
    """

    def __init__(
        self,
        train: Interactions,
        *,
        embedding_size: int = 64,
        hops: int = 3,
        pooling: Pooling = "mean",
        storage: Storage = "float32",
        seed: int = 0,
    ) -> None:
        super().__init__(train, embedding_size=embedding_size, seed=seed)
        self.hops, self.pooling = hops, pooling
        self.final_size = embedding_size * (hops + 1 if pooling == "concat" else 1)
        self.graph = Graph(train, storage=storage)

    def forward(self, required: RequiredRows | None = None) -> Embeddings:
        """Propagate; return hops + 1 tables of users (n_users, size) and of items (n_items, size)."""
        graphs = (self.graph,) * self.hops
        return propagate(graphs, self.users, self.items, pooling=self.pooling, required=required)


class Backbone(Protocol):
    """Interface of a model for training and evaluation: an nn.Module whose call returns Embeddings."""

    final_size: int

    def __call__(self, required: RequiredRows | None = None) -> Embeddings:
        """Compute the hop tables from the trained ones; only required rows of the last hop and the pooled tables are read."""
        ...


@runtime_checkable
class TrainsOtherwise(Protocol):
    """A backbone whose training step differs from its call: dropout, noise, or a loss of its own."""

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Compute the tables of a step; random numbers depend on the seed, the epoch and the step alone."""
        ...


def compute_training_pass(model: nn.Module, batch: Batch, required: RequiredRows | None) -> TrainingPass:
    """Return what a step of training reads: the backbone's own pass, or the tables of its call."""
    own = getattr(model, "training_pass", None)  # isinstance of a protocol takes 50 microseconds
    if own is None:
        return TrainingPass(model(required))
    computed: TrainingPass = own(batch, required)
    return computed


MODELS = Registry(
    "model",
    "hardneg.models",
    {
        "mf": "hardneg.models.config:MF",
        "lightgcn": "hardneg.models.config:LightGCN",
        "sgl": "hardneg.models.sgl:SGL",
        "ngcf": "hardneg.models.ngcf:NGCF",
        "dgcf": "hardneg.models.dgcf:DGCF",
        "simgcl": "hardneg.models.simgcl:SimGCL",
        "xsimgcl": "hardneg.models.simgcl:XSimGCL",
        "kar": "hardneg.models.kar:KAR",
        "alpharec": "hardneg.models.alpharec:AlphaRec",
        "rlmrec-con": "hardneg.models.rlmrec:RLMRecCon",
        "rlmrec-gen": "hardneg.models.rlmrec:RLMRecGen",
        "llmrec": "hardneg.models.llmrec:LLMRec",
    },
)


class ModelConfig(PluginConfig):
    """Options of a backbone. A field of this type accepts every backbone by its `kind`."""

    registry: ClassVar[Registry] = MODELS

    @abstractmethod
    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, a `Backbone`, initialized from the seed."""
        ...


class MF(ModelConfig):
    """Matrix factorisation (Koren et al., 2009), trained by BPR (Rendle et al., 2009)."""

    kind: Literal["mf"] = "mf"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return MFModel(train, embedding_size=self.embedding_size, seed=seed)


class LightGCN(ModelConfig):
    """LightGCN (He et al., 2020): embeddings propagated over the graph of train pairs, without weights."""

    kind: Literal["lightgcn"] = "lightgcn"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    hops: Annotated[int, Field(ge=0, le=64)] = 3
    """Number of propagation steps; 0 is matrix factorisation."""
    pooling: Pooling = "mean"
    """Aggregation of the hops into the final embedding."""
    storage: Storage = "float32"
    """Storage of tables during propagation; float16 halves the memory traffic, sums keep 32 bits."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return LightGCNModel(train, **self.model_dump(exclude={"kind"}), seed=seed)
