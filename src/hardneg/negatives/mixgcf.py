"""MixGCF (Huang et al., 2021): per hop, mix candidates with the positive and keep the hardest; pool over hops."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.random import Generator
from pydantic import PositiveInt
from torch import Tensor

from hardneg.config import Config
from hardneg.negatives.sampler import Ingredients, rows, scores
from hardneg.types import Batch, Embeddings, Vectors, pool


class MixGCF(Config):
    """Positive mixing (eq. 5 there) and hop mixing (eq. 6, 7).

    e'_m = a e_i + (1 - a) e_m per hop, a ~ U(0, 1), one draw a pair and hop, shared by all candidates. The query is
    the user's pooled embedding, or the user's embedding of the same hop where pooling is "concat" (as in the release).
    """

    kind: Literal["mixgcf"] = "mixgcf"
    candidates: PositiveInt = 16

    @property
    def n_candidates(self) -> int:
        """As configured."""
        return self.candidates

    def build(self, _: Ingredients) -> MixGCF:
        """Nothing to build: it has no parameters."""
        return self

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, rng: Generator) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through what was chosen, none through the choice."""
        n_hops = len(embeddings.items)
        mixing = torch.from_numpy(rng.random((len(batch.users), n_hops), np.float32)).to(candidates.device)
        mixed, chosen = [], []
        for hop, items in enumerate(embeddings.items):
            item = self._hardest(batch, embeddings, candidates, hop)
            a = mixing[:, hop, None]
            mixed.append(a * rows(items, batch.positives) + (1 - a) * rows(items, item))
            chosen.append(item)
        return Vectors(
            vectors=pool(tuple(mixed), embeddings.pooling).unsqueeze(1),
            ego=mixed[0].unsqueeze(1),
            sources=torch.stack(chosen, dim=1).unsqueeze(1),
            parts=tuple(f"hop {hop}" for hop in range(n_hops)),
        )

    def _hardest(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, hop: int) -> Tensor:
        """(batch,) items. All candidates of a pair share a and the positive, so mixing cannot change their order:
        q . (a e_i + (1 - a) e_m) = a q . e_i + (1 - a) q . e_m, and 1 - a > 0. They are compared unmixed."""
        with torch.no_grad():
            own_hop = embeddings.pooling == "concat"
            queries = rows(embeddings.users[hop] if own_hop else embeddings.final_users, batch.users)
            best = scores(queries, rows(embeddings.items[hop], candidates)).argmax(dim=1, keepdim=True)
            return candidates.gather(1, best).squeeze(1)
