"""Uniform negatives (RNS): one unobserved item, whatever the model thinks of it (Rendle et al., 2009)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from hardneg.config import Config
from hardneg.random import Stream
from hardneg.sampling.sampler import SamplerInputs
from hardneg.types import Batch, Embeddings, HopsRead, Items


class Uniform(Config):
    """The first candidate."""

    kind: Literal["uniform"] = "uniform"

    @property
    def n_candidates(self) -> int:
        """One."""
        return 1

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads no table."""
        return "none"

    def build(self, _: SamplerInputs) -> Uniform:
        """Nothing to build: it has no parameters."""
        return self

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1)."""
        return Items(candidates[:, :1])
