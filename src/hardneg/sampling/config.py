"""Sampler options: the base of every sampler's configuration, and the samplers by name."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar, Self

from torch import Tensor

from hardneg.plugins import PluginConfig, Registry
from hardneg.random import Stream
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs
from hardneg.types import Batch, Embeddings, HopsRead, Negatives

SAMPLERS = Registry(
    "sampler",
    "hardneg.samplers",
    {
        "uniform": "hardneg.sampling.uniform:Uniform",
        "dns": "hardneg.sampling.dns:DNS",
        "ahns": "hardneg.sampling.ahns:AHNS",
        "mixgcf": "hardneg.sampling.mixgcf:MixGCF",
        "multi-view": "hardneg.sampling.multi_view:MultiView",
        "semantic": "hardneg.sampling.semantic:Semantic",
        "semantic-mixing": "hardneg.sampling.semantic_mixing:SemanticMixing",
    },
)


class SamplerConfig(PluginConfig):
    """Options of a sampler. A field of this type accepts every sampler by its `kind`."""

    registry: ClassVar[Registry] = SAMPLERS

    @abstractmethod
    def build(self, inputs: SamplerInputs) -> NegativeSampler:
        """Return the sampler. Raises ConfigError where `inputs` lack something that it needs."""
        ...


class StatelessSampler(SamplerConfig):
    """A sampler that needs nothing besides its options and the pooled embeddings: it is its own configuration.

    A subclass defines `sample`; it overrides `n_candidates` to compare several candidates and `hops_read` to read the
    tables of single hops.
    """

    @property
    def n_candidates(self) -> int:
        """Number of candidates per pair that the loop draws, 1 by default."""
        return 1

    @property
    def hops_read(self) -> HopsRead:
        """Tables of hops above 0 that the sampler reads, "none" by default."""
        return "none"

    def build(self, inputs: SamplerInputs) -> Self:  # noqa: ARG002
        """Return the sampler itself."""
        return self

    @abstractmethod
    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return negatives for every pair, as in `NegativeSampler.sample`."""
        ...
