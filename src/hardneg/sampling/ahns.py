"""Adaptive hardness (AHNS; Lai et al., 2024)."""

from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.sampler import score_all
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, Items, gather_rows

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
    candidates: PerRow = 32
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
