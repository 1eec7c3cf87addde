"""Uniform negatives (RNS; Rendle et al., 2009)."""

from typing import ClassVar, Literal

from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.sampler import StatelessSampler
from hardneg.types import Batch, Embeddings, Items


class Uniform(StatelessSampler):
    """Uniform negatives (RNS): one unobserved item, the first candidate of each pair, regardless of its score."""

    kind: Literal["uniform"] = "uniform"
    keeps_candidates: ClassVar[bool] = True

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1)."""
        return Items(candidates[:, :1])
