"""Uniform negatives (RNS; Rendle et al., 2009): one unobserved item, regardless of its score."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.sampler import StatelessSampler
from hardneg.types import Batch, Embeddings, Items


class Uniform(StatelessSampler):
    """The first candidate of each pair."""

    kind: Literal["uniform"] = "uniform"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1)."""
        return Items(candidates[:, :1])
