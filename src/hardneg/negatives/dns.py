"""Dynamic negative sampling: of n unobserved items, the one the model likes best (Zhang et al., 2013)."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor

from hardneg.config import Config
from hardneg.negatives.sampler import Ingredients, hardest, rows
from hardneg.random import Stream
from hardneg.types import Batch, Embeddings, HopsRead, Items


class DNS(Config):
    """argmax over the candidates of the score with the pooled embeddings; one candidate is uniform sampling."""

    kind: Literal["dns"] = "dns"
    candidates: PositiveInt = 10
    """More candidates give harder negatives, and more false ones."""

    @property
    def n_candidates(self) -> int:
        """As configured."""
        return self.candidates

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads the pooled tables."""
        return "none"

    def build(self, _: Ingredients) -> DNS:
        """Nothing to build: it has no parameters."""
        return self

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1); of equal scores the first candidate wins. The choice carries no gradient."""
        users = rows(embeddings.final_users, batch.users)
        return Items(hardest(users, embeddings.final_items, candidates).unsqueeze(1))
