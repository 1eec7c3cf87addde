"""Backbone options: the base of every backbone's configuration, and the backbones by name."""

from __future__ import annotations

from abc import abstractmethod
from typing import Annotated, ClassVar, Literal, Protocol

from pydantic import Field, PositiveInt
from torch import nn

from hardneg.data.interactions import Interactions
from hardneg.models.graph import Storage
from hardneg.models.lightgcn import LightGCNModel
from hardneg.models.mf import MFModel
from hardneg.plugins import PluginConfig, Registry
from hardneg.types import Embeddings, Pooling, RequiredRows


class Backbone(Protocol):
    """Interface of a model for training and evaluation: an nn.Module whose call returns Embeddings."""

    final_size: int

    def __call__(self, required: RequiredRows | None = None) -> Embeddings:
        """Compute the hop tables from the trained ones; only required rows of the last hop and the pooled tables are read."""
        ...


MODELS = Registry(
    "model",
    "hardneg.models",
    {"mf": "hardneg.models.config:MF", "lightgcn": "hardneg.models.config:LightGCN"},
)


class ModelConfig(PluginConfig):
    """Options of a backbone. A field of this type accepts every backbone by its `kind`."""

    registry: ClassVar[Registry] = MODELS

    @abstractmethod
    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, a `Backbone`, initialized from the seed."""
        ...


class MF(ModelConfig):
    """Matrix factorisation."""

    kind: Literal["mf"] = "mf"
    embedding_size: PositiveInt = 64
    """Size of the user and item embeddings."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return MFModel(train, embedding_size=self.embedding_size, seed=seed)


class LightGCN(ModelConfig):
    """LightGCN."""

    kind: Literal["lightgcn"] = "lightgcn"
    embedding_size: PositiveInt = 64
    """Size of the user and item embeddings."""
    hops: Annotated[int, Field(ge=0)] = 3
    """Number of propagation steps; 0 is matrix factorisation."""
    pooling: Pooling = "mean"
    """Aggregation of the hops into the final embedding."""
    storage: Storage = "float32"
    """Storage of tables during propagation; float16 halves the memory traffic, sums keep 32 bits."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return LightGCNModel(train, **self.model_dump(exclude={"kind"}), seed=seed)
