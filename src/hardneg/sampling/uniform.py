"""Uniform negatives (RNS; Rendle et al., 2009)."""

from typing import ClassVar, Literal

from torch import Tensor

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.sampler import StatelessSampler
from hardneg.types import Batch, Embeddings, Items


class Uniform(StatelessSampler):
    """Uniform negatives (RNS): unobserved items, one per pair by default, regardless of their scores.

    With another candidate source (`fit.candidates`) they are its draws.
    """

    kind: Literal["uniform"] = "uniform"
    negatives: PerRow = 1
    """Number of negatives per pair."""
    keeps_candidates: ClassVar[bool] = True
    later_fields: ClassVar[frozenset[str]] = frozenset({"negatives"})

    @property
    def n_candidates(self) -> int:
        """Number of negatives."""
        return self.negatives

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return the candidates (batch, negatives)."""
        return Items(candidates)
