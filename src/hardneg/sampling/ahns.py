"""Adaptive hardness (AHNS; Lai et al., 2024): the better a positive is ranked, the easier its negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling.ranking import score_all
from hardneg.sampling.sampler import SamplerInputs, gather_rows
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, HopsRead, Items

LEAST = 1e-6
"""What s(u, i) + alpha counts as where it is less. The formula would change its sign below 0 and have no value at 0; so
such a positive, with p below -1, gets the candidate with the largest score."""


class AHNS(TreeWeights):
    """argmin over the candidates m of |s(u, m) - beta (s(u, i) + alpha)^(p + 1)|, s with the pooled embeddings.

    The score that a negative should have falls as that of the positive i rises, as long as p is below -1. As in the
    release, the loss then meets the catalogue item itself. With a view the preference that is scaled is the negated distance.
    """

    kind: Literal["ahns"] = "ahns"
    candidates: PositiveInt = 32
    alpha: NonNegativeFloat = 1.0
    """Added to the positive's score, which should become positive; see LEAST."""
    beta: PositiveFloat = 0.1
    """Scales the hardness."""
    p: float = -2.0
    """How fast the hardness falls with the positive's score."""

    def build(self, inputs: SamplerInputs) -> AHNSSampler:
        """Take the trees at hand where the views have a weight."""
        return AHNSSampler(self, self.views(inputs))

    def wanted(self, positives: Tensor) -> Tensor:
        """The score that a negative should have, for scores of positives; in 64 bits, since it may be very large."""
        return self.beta * (positives.double() + self.alpha).clamp(min=LEAST) ** (self.p + 1)


@dataclass(frozen=True)
class AHNSSampler:
    """Chooses catalogue items by their pooled embeddings."""

    options: AHNS
    views: TreeViews | None

    @property
    def n_candidates(self) -> int:
        """As configured."""
        return self.options.candidates

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads the pooled tables."""
        return "none"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1); of equals the first candidate wins. The choice carries no gradient."""
        users, items = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        wanted = self.options.wanted(score_all(users, items, batch.positives.unsqueeze(1)))
        distances = (score_all(users, items, candidates).double() - wanted).abs()
        return choose_candidates(self.views, batch, -distances, candidates)
