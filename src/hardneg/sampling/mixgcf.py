"""MixGCF (Huang et al., 2021) mixes the hardest candidate of each hop with the positive, and pools over hops.

Multi-view hard negatives (DTL-NS, arXiv 2602.18249) are MixGCF with candidates chosen by score and by both item trees.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from pydantic import NonNegativeFloat
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.kernels import mix_rows, unmix_rows
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs, StatelessSampler, hardest, require_known_rows
from hardneg.sampling.tree_similarity import (
    EPSILON,
    TreeViews,
    TreeWeights,
    best_with_bonus,
    similarity_totals,
    weigh_similarities,
)
from hardneg.types import Batch, Embeddings, HopsRead, Pooling, Vectors, gather_rows, pool, takes_sparse


class MixGCF(StatelessSampler):
    """MixGCF: positive mixing (eq. 5) and hop mixing (eq. 6 and 7) of the highest scored candidates.

    e'_m = a e_i + (1 - a) e_m per hop. a ~ U(0, 1) is drawn once per pair and hop, and shared by all candidates. The
    query is the pooled user embedding, or that of the same hop where pooling is "concat", as in the released code.
    Candidates are compared unmixed and only the best is mixed. Mixing keeps the order of the candidates, since
    q . e'_m = a q . e_i + (1 - a) q . e_m and 1 - a > 0.
    """

    kind: Literal["mixgcf"] = "mixgcf"
    candidates: PerRow = 16
    """Number of candidates per pair; more of them give harder negatives."""
    hops_read: ClassVar[HopsRead] = "items"
    """Candidates are compared and mixed per hop."""

    @property
    def n_candidates(self) -> int:
        """Number of candidates, as configured."""
        return self.candidates

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through the chosen rows, but not through the choice."""
        chosen = [
            hardest(query, table, candidates)
            for query, table in zip(queries(batch, embeddings), embeddings.items, strict=True)
        ]
        return mixed_negatives(batch, embeddings, chosen, positive_shares(batch, embeddings, stream))


def queries(batch: Batch, embeddings: Embeddings) -> list[Tensor]:
    """Return the queries (batch, size) of each hop, without gradients."""
    with torch.no_grad():
        if embeddings.pooling == "concat":
            return [gather_rows(table, batch.users) for table in embeddings.users]
        return [gather_rows(embeddings.final_users, batch.users)] * len(embeddings.items)


def positive_shares(batch: Batch, embeddings: Embeddings, stream: Stream) -> Tensor:
    """Draw the share a ~ U[0, 1) of the positive for every pair and hop, (batch, hops + 1)."""
    shares = stream.uniform(batch.rows.cpu().numpy(), len(embeddings.items))
    return torch.from_numpy(shares).to(batch.rows.device)


def mixed_negatives(batch: Batch, embeddings: Embeddings, chosen: list[Tensor], mixing: Tensor) -> Vectors:
    """Return the selected candidates, mixed with the positives, as negatives."""
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
    """Return a e_i + (1 - a) e_m pooled over hops, (batch, final size), and that of hop 0, (batch, size).

    tables: one per hop. positives: (batch,). chosen: one (batch,) tensor of items per hop. mixing: a, (batch, hops + 1).
    The CPU runs one compiled pass per hop, forward and backward.
    """
    index = torch.stack([positives, *chosen])
    require_known_rows(index, min(tables, key=len))
    if mixing.device.type == "cpu" and pooling in ("mean", "sum") and all(takes_sparse(table) for table in tables):
        vectors, ego = _Mix.apply(index, mixing, pooling, *tables)  # type: ignore[no-untyped-call]
        return vectors, ego
    mixed = [
        a.unsqueeze(1) * gather_rows(table, positives) + (1 - a).unsqueeze(1) * gather_rows(table, item)
        for table, item, a in zip(tables, chosen, mixing.unbind(1), strict=True)
    ]
    return pool(tuple(mixed), pooling), mixed[0]


class _Mix(torch.autograd.Function):
    """index: (1 + hops, batch), the positives and the selected candidates of each hop."""

    @staticmethod
    def forward(ctx: Any, index: Tensor, mixing: Tensor, pooling: Pooling, *tables: Tensor) -> tuple[Tensor, Tensor]:
        share = 1 / len(tables) if pooling == "mean" else 1.0
        ctx.arguments = index, mixing.T.contiguous(), share, tables[0].shape
        arrays = [table.detach().contiguous().numpy() for table in tables]
        hops = zip(arrays, index[1:].numpy(), ctx.arguments[1].numpy(), strict=True)
        table, chosen, a = next(hops)
        positives, ego = index[0].numpy(), np.zeros((index.shape[1], table.shape[1]), np.float32)
        mix_rows(table, positives, chosen, a, 1.0, ego)
        vectors = ego * np.float32(share)
        for table, chosen, a in hops:
            mix_rows(table, positives, chosen, a, share, vectors)
        return torch.from_numpy(vectors), torch.from_numpy(ego)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, vectors_gradient: Tensor, ego_gradient: Tensor) -> tuple[Tensor | None, ...]:
        index, mixing, share, shape = ctx.arguments
        gradients = []
        for hop, a in enumerate(mixing.numpy()):
            rows_gradient = np.zeros((2, index.shape[1], shape[1]), np.float32)
            unmix_rows(vectors_gradient.contiguous().numpy(), a, share, *rows_gradient)
            if hop == 0:
                unmix_rows(ego_gradient.contiguous().numpy(), a, 1.0, *rows_gradient)
            rows = torch.cat([index[0], index[1 + hop]]).unsqueeze(0)
            values = torch.from_numpy(rows_gradient.reshape(-1, shape[1]))
            gradients.append(torch.sparse_coo_tensor(rows, values, shape, check_invariants=False))
        return None, None, None, *gradients


class MultiView(TreeWeights):
    """DTL-NS: per hop argmax over the candidates m of z_m + alpha_c sim_c(i, m) + alpha_s sim_s(i, m).

    z_m = (p_m - min p) / (max p - min p + 1e-8). p_m is the score of the candidate mixed with the positive i, as in
    MixGCF. sim is the similarity of the path codes of the positive and the unmixed candidate. The chosen mixed rows are
    pooled. With both weights at 0 the result equals that of MixGCF.

    The code scales the scores of unmixed candidates, which is equivalent and cheaper: p_m = a q . e_i + (1 - a) q . e_m,
    so the min-max scaling of p equals that of q . e_m with 1e-8 / (1 - a) in place of 1e-8.
    """

    kind: Literal["multi-view"] = "multi-view"
    candidates: PerRow = 10
    """Number of candidates per pair; more of them give harder negatives."""
    alpha_c: NonNegativeFloat = 0.1
    """Weight of the similarity in the structural tree; scores are scaled to [0, 1]. Default of the released code."""
    alpha_s: NonNegativeFloat = 0.3
    """Weight of the similarity in the semantic tree. Value of the released code for Sports."""
    hops_read: ClassVar[HopsRead] = "items"

    def build(self, inputs: SamplerInputs) -> NegativeSampler:
        """Return the sampler, or MixGCF where both weights are 0."""
        return super().build(inputs) if self.reads_trees else MixGCF(candidates=self.candidates)

    def choose(
        self, views: TreeViews, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream
    ) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through the chosen rows, but not through the choice.

        totals: similarities of the selected candidates, over hops, and of all candidates.
        """
        mixing = positive_shares(batch, embeddings, stream)
        similarities, bonus = weigh_similarities(views, batch.positives, candidates)
        epsilons = (EPSILON / (1 - mixing)).T.contiguous()
        hops = zip(queries(batch, embeddings), embeddings.items, epsilons, strict=True)
        places = torch.stack(
            [best_with_bonus(query, table, candidates, bonus, epsilon) for query, table, epsilon in hops], dim=1
        )
        chosen = list(candidates.gather(1, places).unbind(1))
        return replace(
            mixed_negatives(batch, embeddings, chosen, mixing), totals=similarity_totals(similarities, places)
        )
