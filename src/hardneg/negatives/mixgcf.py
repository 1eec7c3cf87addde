"""MixGCF (Huang et al., 2021): per hop, mix candidates with the positive and keep the hardest; pool over hops."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import PositiveInt
from torch import Tensor

from hardneg.config import Config
from hardneg.negatives.sampler import Ingredients, hardest, rows
from hardneg.random import Stream
from hardneg.types import Batch, Embeddings, HopsRead, Vectors, pool


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

    @property
    def hops_read(self) -> HopsRead:
        """Items: candidates are compared and mixed hop by hop."""
        return "items"

    def build(self, _: Ingredients) -> MixGCF:
        """Nothing to build: it has no parameters."""
        return self

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through what was chosen, none through the choice."""
        n_hops = len(embeddings.items)
        drawn = stream.uniform(batch.rows.cpu().numpy(), n_hops)
        mixing = torch.from_numpy(drawn).to(candidates.device)
        chosen = [self._hardest(batch, embeddings, candidates, hop) for hop in range(n_hops)]
        mixed = [
            _mixed(table, batch.positives, item, mixing[:, hop])
            for hop, (table, item) in enumerate(zip(embeddings.items, chosen, strict=True))
        ]
        return Vectors(
            vectors=pool(tuple(mixed), embeddings.pooling).unsqueeze(1),
            ego=mixed[0].unsqueeze(1),
            sources=torch.stack(chosen, dim=1).unsqueeze(1),
            parts=tuple(f"hop {hop}" for hop in range(n_hops)),
        )

    def _hardest(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, hop: int) -> Tensor:
        """(batch,) items. All candidates of a pair share a and the positive, so mixing cannot change their order:
        q . (a e_i + (1 - a) e_m) = a q . e_i + (1 - a) q . e_m, and 1 - a > 0. They are compared unmixed."""
        own_hop = embeddings.pooling == "concat"
        with torch.no_grad():
            queries = rows(embeddings.users[hop] if own_hop else embeddings.final_users, batch.users)
        return hardest(queries, embeddings.items[hop], candidates)


def _mixed(table: Tensor, positives: Tensor, others: Tensor, a: Tensor) -> Tensor:
    """a x table[positives] + (1 - a) x table[others]: (batch, size). One gather, hence one gradient."""
    both = rows(table, torch.stack([positives, others]))
    return (torch.stack([a, 1 - a]).unsqueeze(2) * both).sum(dim=0)
