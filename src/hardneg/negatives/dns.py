"""Dynamic negative sampling: of n unobserved items, one that the model likes best (Zhang et al., 2013; Shi et al., 2023)."""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from hardneg.config import Config
from hardneg.negatives.choosing import ranked, scored
from hardneg.negatives.sampler import Ingredients, hardest, rows
from hardneg.random import Stream
from hardneg.types import Batch, Embeddings, HopsRead, Items


class DNS(Config):
    """DNS(M, N): one of the M candidates with the largest scores of N, all M equally likely (eq. 2 of Shi et al.).

    top is M, candidates is N. M = 1 is the argmax of Zhang et al., M = N uniform sampling. The candidates are drawn
    apart, so an item may stand twice among them. The code of Shi et al. sums the loss over all M instead.
    """

    kind: Literal["dns"] = "dns"
    candidates: PositiveInt = 10
    """More candidates give harder negatives, and more false ones."""
    top: PositiveInt = 1
    """More give easier negatives, and fewer false ones."""

    @model_validator(mode="after")
    def _top_among_candidates(self) -> Self:
        if self.top > self.candidates:
            raise ValueError(f"found top {self.top} of {self.candidates} candidates; lower top or draw more candidates")
        return self

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

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:
        """Return items (batch, 1); of equal scores the first candidate goes before. The choice carries no gradient."""
        users = rows(embeddings.final_users, batch.users)
        if self.top == 1:
            return Items(hardest(users, embeddings.final_items, candidates).unsqueeze(1))
        preferences = scored(users, embeddings.final_items, candidates)
        return Items(ranked(preferences, candidates, self._ranks(batch, stream)).unsqueeze(1))

    def _ranks(self, batch: Batch, stream: Stream) -> Tensor:
        """Each pair's own number of 0..top - 1, (batch,)."""
        unit = stream.uniform(batch.rows.cpu().numpy(), 1)[:, 0].astype(np.float64)
        return torch.from_numpy((unit * self.top).astype(np.int64)).to(batch.rows.device)
