"""MixGCF (Huang et al., 2021): per hop, mix candidates with the positive and keep the hardest; pool over hops."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.random import Stream
from hardneg.sampling.config import StatelessSampler
from hardneg.sampling.kernels import mix_rows, unmix_rows
from hardneg.sampling.sampler import gather_rows, hardest, require_known_rows, takes_sparse
from hardneg.types import Batch, Embeddings, HopsRead, Pooling, Vectors, pool


class MixGCF(StatelessSampler):
    """Positive mixing (eq. 5 there) and hop mixing (eq. 6, 7).

    e'_m = a e_i + (1 - a) e_m per hop, a ~ U(0, 1), one draw a pair and hop, shared by all candidates. The query is
    the user's pooled embedding, or the user's embedding of the same hop where pooling is "concat" (as in the release).
    All candidates of a pair share a and the positive, so mixing cannot change their order: q . (a e_i + (1 - a) e_m) =
    a q . e_i + (1 - a) q . e_m, and 1 - a > 0. They are compared unmixed, and only the winner is mixed.
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

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through what was chosen, none through the choice."""
        chosen = [
            hardest(query, table, candidates)
            for query, table in zip(queries(batch, embeddings), embeddings.items, strict=True)
        ]
        return mixed_negatives(batch, embeddings, chosen, positive_shares(batch, embeddings, stream))


def queries(batch: Batch, embeddings: Embeddings) -> list[Tensor]:
    """What the candidates of each hop are compared with, (batch, size) a hop, without gradients."""
    with torch.no_grad():
        if embeddings.pooling == "concat":
            return [gather_rows(table, batch.users) for table in embeddings.users]
        return [gather_rows(embeddings.final_users, batch.users)] * len(embeddings.items)


def positive_shares(batch: Batch, embeddings: Embeddings, stream: Stream) -> Tensor:
    """Every pair's a ~ U[0, 1) of every hop, (batch, hops + 1)."""
    drawn = stream.uniform(batch.rows.cpu().numpy(), len(embeddings.items))
    return torch.from_numpy(drawn).to(batch.rows.device)


def mixed_negatives(batch: Batch, embeddings: Embeddings, chosen: list[Tensor], mixing: Tensor) -> Vectors:
    """The negatives that `mix` makes of what was chosen."""
    vectors, ego = mix(embeddings.items, batch.positives, chosen, mixing, embeddings.pooling)
    return Vectors(
        vectors=vectors.unsqueeze(1),
        ego=ego.unsqueeze(1),
        sources=torch.stack(chosen, dim=1).unsqueeze(1),
        parts=tuple(f"hop {hop}" for hop in range(len(chosen))),
    )


def mix(
    tables: tuple[Tensor, ...], positives: Tensor, chosen: list[Tensor], mixing: Tensor, pooling: Pooling
) -> tuple[Tensor, Tensor]:
    """Per hop a e_i + (1 - a) e_m, pooled: (batch, final size), and that of hop 0: (batch, size).

    tables: a hop each. positives: (batch,). chosen: (batch,) items a hop. mixing: (batch, hops + 1), the a. On the CPU one
    compiled pass a hop, forward and backward.
    """
    taken = torch.stack([positives, *chosen])
    require_known_rows(taken, min(tables, key=len))
    if mixing.device.type == "cpu" and pooling != "concat" and all(takes_sparse(table) for table in tables):
        vectors, ego = _Mix.apply(taken, mixing, pooling, *tables)  # type: ignore[no-untyped-call]
        return vectors, ego
    mixed = [
        a.unsqueeze(1) * gather_rows(table, positives) + (1 - a).unsqueeze(1) * gather_rows(table, item)
        for table, item, a in zip(tables, chosen, mixing.unbind(1), strict=True)
    ]
    return pool(tuple(mixed), pooling), mixed[0]


class _Mix(torch.autograd.Function):
    """taken: (1 + tables, batch), the positives and what was chosen a hop."""

    @staticmethod
    def forward(ctx: Any, taken: Tensor, mixing: Tensor, pooling: Pooling, *tables: Tensor) -> tuple[Tensor, Tensor]:
        share = 1 / len(tables) if pooling == "mean" else 1.0
        ctx.given = taken, mixing.T.contiguous(), share, tables[0].shape
        read = [table.detach().contiguous().numpy() for table in tables]
        hops = zip(read, taken[1:].numpy(), ctx.given[1].numpy(), strict=True)
        table, chosen, a = next(hops)
        positives, ego = taken[0].numpy(), np.zeros((taken.shape[1], table.shape[1]), np.float32)
        mix_rows(table, positives, chosen, a, 1.0, ego)
        vectors = ego * np.float32(share)
        for table, chosen, a in hops:
            mix_rows(table, positives, chosen, a, share, vectors)
        return torch.from_numpy(vectors), torch.from_numpy(ego)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_vectors: Tensor, of_ego: Tensor) -> tuple[Tensor | None, ...]:
        taken, mixing, share, shape = ctx.given
        gradients = []
        for hop, a in enumerate(mixing.numpy()):
            of_rows = np.zeros((2, taken.shape[1], shape[1]), np.float32)
            unmix_rows(of_vectors.contiguous().numpy(), a, share, *of_rows)
            if hop == 0:
                unmix_rows(of_ego.contiguous().numpy(), a, 1.0, *of_rows)
            index = torch.cat([taken[0], taken[1 + hop]]).unsqueeze(0)
            values = torch.from_numpy(of_rows.reshape(-1, shape[1]))
            gradients.append(torch.sparse_coo_tensor(index, values, shape, check_invariants=False))
        return None, None, None, *gradients
