"""Adaptive softmax sampling: candidates drawn by score (Shi et al., 2023, theorem 2) or rank (Rendle & Freudenthaler, 2014)."""

from typing import Literal

import torch
from pydantic import PositiveFloat
from torch import Tensor

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.sampler import StatelessSampler, pick_by_rank, score_all
from hardneg.types import Batch, Embeddings, Floats, Items, gather_rows

SMALLEST = 2.0**-26
"""Lower bound of a random number whose logarithm is taken; numbers have 24 bits."""


class AdaptiveSoftmax(StatelessSampler):
    """Adaptive softmax: one candidate, with probability proportional to exp(score / temperature).

    A soft DNS: near temperature 0 the highest scored candidate, at a large one a uniform one. By rank, the probability is
    proportional to exp(-rank / temperature), with rank 0 for the highest score; it does not depend on the scale of scores.
    Ranks are exact among the candidates; the release of Rendle & Freudenthaler approximates those in the whole catalogue.
    """

    kind: Literal["adaptive-softmax"] = "adaptive-softmax"
    candidates: PerRow = 16
    """Number of candidates per pair; more of them give harder negatives."""
    temperature: PositiveFloat = 1.0
    """Divisor of the scores, or of the ranks; a smaller value gives harder negatives."""
    by: Literal["score", "rank"] = "score"
    """Use of the scores: themselves, or the ranks of the candidates by them."""

    @property
    def n_candidates(self) -> int:
        """Number of candidates, as configured."""
        return self.candidates

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:
        """Return items (batch, 1). The choice carries no gradient; it is the argmax of score / temperature + Gumbel noise."""
        users = gather_rows(embeddings.final_users, batch.users)
        preferences = score_all(users, embeddings.final_items, candidates).double()
        if self.by == "rank":
            ranks = preferences.argsort(dim=1, descending=True, stable=True).argsort(dim=1).double()
            preferences = torch.where(preferences.isnan(), preferences, -ranks)
        noise = gumbel_noise(stream.uniform(batch.rows.cpu().numpy(), self.candidates))
        places = pick_by_rank(preferences / self.temperature + noise.to(preferences.device))
        return Items(candidates.gather(1, places.unsqueeze(1)))


def gumbel_noise(units: Floats) -> Tensor:
    """Return Gumbel noise in double precision from numbers in [0, 1); the argmax of x + noise has softmax(x) as its law."""
    return -(-torch.from_numpy(units).double().clamp(min=SMALLEST).log()).log()
