"""Multi-view hard negatives (DTL-NS, arXiv 2602.18249): MixGCF, choosing per hop by preference and by both trees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.mixgcf import MixGCF, mixed_negatives, positive_shares, queries
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs
from hardneg.sampling.tree_similarity import EPSILON, TreeViews, TreeWeights, best_with_bonus, similarity_totals
from hardneg.types import Batch, Embeddings, HopsRead, Vectors


class MultiView(TreeWeights):
    """Per hop argmax over the candidates m of z_m + alpha_c sim_c(i, m) + alpha_s sim_s(i, m).

    z_m = (p_m - min p) / (max p - min p + 1e-8), p_m the score of the candidate once it is mixed with the positive i as in
    MixGCF, sim the similarities of path codes of the positive and the unmixed candidate. The chosen mixed rows are
    pooled. Without weights it is MixGCF, to the bit.
    """

    kind: Literal["multi-view"] = "multi-view"
    candidates: PositiveInt = 10
    alpha_c: NonNegativeFloat = 0.1
    """Weight of the similarity in the structural tree, beside a preference of 0 to 1; the release's value."""
    alpha_s: NonNegativeFloat = 0.3
    """Weight of that in the semantic tree; the release's value for Sports."""

    def build(self, inputs: SamplerInputs) -> NegativeSampler:
        """Take the trees at hand where the views have a weight."""
        views = self.views(inputs)
        return MixGCF(candidates=self.candidates) if views is None else MultiViewSampler(self, views)


@dataclass(frozen=True)
class MultiViewSampler:
    """Compares candidates unmixed: p_m = a q . e_i + (1 - a) q . e_m has the same order, and dividing its min-max scaling
    by 1 - a > 0 above and below leaves (q . e_m - min) / (max - min + 1e-8 / (1 - a)). Similarities are looked up once
    and serve all hops."""

    options: MultiView
    views: TreeViews

    @property
    def n_candidates(self) -> int:
        """As configured."""
        return self.options.candidates

    @property
    def hops_read(self) -> HopsRead:
        """Items: candidates are compared and mixed hop by hop."""
        return "items"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:
        """Return vectors (batch, 1, final size) with gradients through what was chosen, none through the choice.

        totals hold the mean similarity of chosen items, over hops, beside that of all candidates.
        """
        mixing = positive_shares(batch, embeddings, stream)
        similarities = self.views.similarities(batch.positives, candidates)
        bonus = self.views.bonus(similarities)
        spares = (EPSILON / (1 - mixing)).T.contiguous()
        hops = zip(queries(batch, embeddings), embeddings.items, spares, strict=True)
        places = torch.stack(
            [best_with_bonus(query, table, candidates, bonus, spare) for query, table, spare in hops], dim=1
        )
        chosen = list(candidates.gather(1, places).unbind(1))
        return replace(
            mixed_negatives(batch, embeddings, chosen, mixing), totals=similarity_totals(similarities, places)
        )
