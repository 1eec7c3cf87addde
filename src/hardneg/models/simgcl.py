"""SimGCL and XSimGCL: LightGCN with a contrastive loss between tables to which random noise is added after each hop."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import nn

from hardneg.config import VectorSize
from hardneg.data.interactions import Interactions
from hardneg.models.config import LightGCNModel, ModelConfig
from hardneg.models.contrastive import BatchNodes
from hardneg.models.noise import HopNoise
from hardneg.models.propagation import propagate
from hardneg.types import Batch, Embeddings, Pooling, RequiredRows, TrainingPass

POOLING: Pooling = "mean-from-1"
"""The papers leave hop 0 out of the mean, with and without noise."""


class _NoisyModel(LightGCNModel):
    """LightGCN without hop 0 in the mean, and its tables with noise."""

    def __init__(self, train: Interactions, options: SimGCL | XSimGCL, *, seed: int) -> None:
        super().__init__(train, embedding_size=options.embedding_size, hops=options.hops, pooling=POOLING, seed=seed)
        self.noise_size, self.seed = options.noise, seed

    def propagate_with_noise(self, batch: Batch, view: str, required: RequiredRows | None) -> Embeddings:
        """Propagate with the noise of one view in one step."""
        noise = HopNoise(self.noise_size, self.seed, view, batch) if self.noise_size else None
        graphs = (self.graph,) * self.hops
        return propagate(graphs, self.users, self.items, pooling=POOLING, required=required, noise=noise)


class SimGCLModel(_NoisyModel):
    """Training adds weight x InfoNCE between two noisy views; sampler, BPR and evaluation read the tables without noise."""

    def __init__(self, train: Interactions, options: SimGCL, *, seed: int) -> None:
        super().__init__(train, options, seed=seed)
        self.options = options

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Propagate without noise and with that of both views."""
        embeddings, nodes = self(required), BatchNodes.of(batch)
        one, other = (self.propagate_with_noise(batch, view, nodes.required) for view in ("view 1", "view 2"))
        loss = nodes.contrast(one, other, self.options.temperature)
        return TrainingPass(embeddings, auxiliary=self.options.weight * loss)


class XSimGCLModel(_NoisyModel):
    """Training scores noisy tables, and adds weight x InfoNCE between their mean and one of their hops.

    Sampler and evaluation read the tables without noise. The paper needs one propagation per step; the clean tables for
    the sampler cost a second one, forward only. Negatives that a sampler mixes from embeddings are mixed from clean ones.
    """

    def __init__(self, train: Interactions, options: XSimGCL, *, seed: int) -> None:
        super().__init__(train, options, seed=seed)
        self.options = options

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        """Propagate without noise for the sampler, and with noise for both losses."""
        noisy, nodes, hop = self.propagate_with_noise(batch, "view", required), BatchNodes.of(batch), self.options.hop
        pooled, of_hop = (noisy.final_users, noisy.final_items), (noisy.users[hop], noisy.items[hop])
        loss = nodes.contrast_tables(pooled, of_hop, self.options.temperature)
        return TrainingPass(self(required), scored=noisy, auxiliary=self.options.weight * loss)


class SimGCL(ModelConfig):
    """SimGCL (Yu et al., 2022): LightGCN with a contrastive loss between two views that differ in random noise.

    Users and items are contrasted separately, each among the distinct ones of the batch. L2 is of hop 0; SELFRec's release
    regularises final embeddings by their norms, not squared.
    """

    kind: Literal["simgcl"] = "simgcl"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    hops: Annotated[int, Field(ge=1, le=64)] = 2
    """Number of propagation steps; hop 0 is not part of the final embedding."""
    noise: NonNegativeFloat = 0.1
    """Length of the noise added to each row after each hop; 0.1 is the published setting for Yelp2018."""
    weight: NonNegativeFloat = 0.5
    """Weight of the contrastive loss; 0.5 is the published setting for Yelp2018."""
    temperature: PositiveFloat = 0.2
    """Divisor of the cosines."""

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return SimGCLModel(train, self, seed=seed)


class XSimGCL(ModelConfig):
    """XSimGCL (Yu et al., 2023): one noisy propagation, whose mean is contrasted with one of its own hops.

    Users and items are contrasted separately, each among the distinct ones of the batch. The loss reads noisy embeddings,
    as in the paper; the sampler reads clean ones. L2 is of hop 0, as for SimGCL.
    """

    kind: Literal["xsimgcl"] = "xsimgcl"
    embedding_size: VectorSize = 64
    """Size of the user and item embeddings."""
    hops: Annotated[int, Field(ge=1, le=64)] = 2
    """Number of propagation steps; hop 0 is not part of the final embedding."""
    hop: Annotated[int, Field(ge=1, le=64)] = 1
    """The hop that is contrasted with the mean, at most `hops`."""
    noise: NonNegativeFloat = 0.2
    """Length of the noise added to each row after each hop."""
    weight: NonNegativeFloat = 0.2
    """Weight of the contrastive loss."""
    temperature: PositiveFloat = 0.15
    """Divisor of the cosines."""

    @model_validator(mode="after")
    def _require_existing_hop(self) -> Self:
        if self.hop > self.hops:
            raise ValueError(f"found hop {self.hop} of {self.hops} hops, expected one of 1 to hops; lower it")
        return self

    def build(self, train: Interactions, *, seed: int) -> nn.Module:
        """Build the model, initialized from the seed."""
        return XSimGCLModel(train, self, seed=seed)
