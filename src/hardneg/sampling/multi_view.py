"""Multi-view hard negatives (DTL-NS, arXiv 2602.18249): MixGCF with candidates chosen by score and by both item trees."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.mixgcf import MixGCF, mixed_negatives, positive_shares, queries
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs
from hardneg.sampling.tree_similarity import (
    EPSILON,
    TreeViews,
    TreeWeights,
    best_with_bonus,
    similarity_totals,
    weigh_similarities,
)
from hardneg.types import Batch, Embeddings, HopsRead, Vectors


class MultiView(TreeWeights):
    """Per hop argmax over the candidates m of z_m + alpha_c sim_c(i, m) + alpha_s sim_s(i, m).

    z_m = (p_m - min p) / (max p - min p + 1e-8). p_m is the score of the candidate mixed with the positive i, as in
    MixGCF. sim is the similarity of the path codes of the positive and the unmixed candidate. The chosen mixed rows are
    pooled. With both weights at 0 the result equals that of MixGCF.

    The code scales the scores of unmixed candidates, which is equivalent and cheaper: p_m = a q . e_i + (1 - a) q . e_m,
    so the min-max scaling of p equals that of q . e_m with 1e-8 / (1 - a) in place of 1e-8.
    """

    kind: Literal["multi-view"] = "multi-view"
    candidates: PositiveInt = 10
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
