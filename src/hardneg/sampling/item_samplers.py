"""Samplers of catalogue items: uniform (RNS), one of the highest scored (DNS), and by adaptive hardness (AHNS).

Sources: Rendle et al. (2009); Zhang et al. (2013) and Shi et al. (2023); Lai et al. (2024).
"""

from __future__ import annotations

from typing import Literal, Self

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.sampler import StatelessSampler, gather_rows, hardest, score_all
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, Items


class Uniform(StatelessSampler):
    """Uniform negatives (RNS): one unobserved item, the first candidate of each pair, regardless of its score."""

    kind: Literal["uniform"] = "uniform"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1)."""
        return Items(candidates[:, :1])


class DNS(TreeWeights):
    """DNS(M, N): one of the M highest scored of N candidates, all M equally likely (eq. 2 of Shi et al.).

    top is M, candidates is N. M = 1 is the argmax of Zhang et al.; M = N is uniform sampling. Candidates are drawn
    independently, so an item may occur twice. The code of Shi et al. sums the loss over all M instead. With tree
    weights, candidates are ranked by the score of `hardneg.sampling.tree_similarity`.
    """

    kind: Literal["dns"] = "dns"
    candidates: PositiveInt = 10
    """More candidates give harder negatives, and more false negatives."""
    top: PositiveInt = 1
    """A larger value gives easier negatives, and fewer false negatives."""

    @model_validator(mode="after")
    def _top_among_candidates(self) -> Self:
        if self.top > self.candidates:
            raise ValueError(f"found top {self.top} of {self.candidates} candidates; lower top or draw more candidates")
        return self

    def choose(
        self, views: TreeViews, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream
    ) -> Items:
        """Return items (batch, 1). The first of equal candidates ranks higher. The choice carries no gradient."""
        users, items = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        if self.top == 1 and not views:
            return Items(hardest(users, items, candidates).unsqueeze(1))
        ranks = None
        if self.top > 1:
            unit = stream.uniform(batch.rows.cpu().numpy(), 1)[:, 0].astype(np.float64)
            ranks = torch.from_numpy((unit * self.top).astype(np.int64)).to(batch.rows.device)
        return choose_candidates(views, batch, score_all(users, items, candidates), candidates, ranks)


LEAST = 1e-6
"""Lower bound of s(u, i) + alpha. The formula changes its sign below 0 and is undefined at 0. With p below -1, a positive
at the bound gets the candidate with the largest score."""


class AHNS(TreeWeights):
    """Adaptive hardness (AHNS): the higher the positive is scored, the easier its negative.

    argmin over the candidates m of |s(u, m) - beta (s(u, i) + alpha)^(p + 1)|, s from the pooled embeddings.

    The target score of a negative falls as the score of the positive i rises, where p is below -1. As in the released
    code, the loss uses the catalogue item itself. With tree weights, the scaled preference is the negated distance.
    """

    kind: Literal["ahns"] = "ahns"
    candidates: PositiveInt = 32
    alpha: NonNegativeFloat = 1.0
    """Added to the score of the positive, so that the sum is positive; see LEAST."""
    beta: PositiveFloat = 0.1
    """Scale of the hardness."""
    p: float = -2.0
    """Rate at which the hardness falls with the score of the positive."""

    def choose(
        self,
        views: TreeViews,
        batch: Batch,
        embeddings: Embeddings,
        candidates: Tensor,
        stream: Stream,  # noqa: ARG002
    ) -> Items:
        """Return items (batch, 1); the first of equal candidates wins. The choice carries no gradient."""
        users, items = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        positives = score_all(users, items, batch.positives.unsqueeze(1)).double()  # targets may be very large
        targets = self.beta * (positives + self.alpha).clamp(min=LEAST) ** (self.p + 1)
        distances = (score_all(users, items, candidates).double() - targets).abs()
        return choose_candidates(views, batch, -distances, candidates)
