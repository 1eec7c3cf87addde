"""Dynamic negative sampling: of n unobserved items, one that the model likes best (Zhang et al., 2013; Shi et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
import torch
from pydantic import PositiveInt, model_validator
from torch import Tensor

from hardneg.config import later
from hardneg.random import Stream
from hardneg.sampling.ranking import score_all
from hardneg.sampling.sampler import SamplerInputs, gather_rows, hardest
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, HopsRead, Items


class DNS(TreeWeights):
    """DNS(M, N): one of the M candidates with the largest scores of N, all M equally likely (eq. 2 of Shi et al.).

    top is M, candidates is N. M = 1 is the argmax of Zhang et al., M = N uniform sampling. The candidates are drawn
    apart, so an item may stand twice among them. The code of Shi et al. sums the loss over all M instead. With a view the
    M are the best by what `hardneg.sampling.tree_similarity` makes of the scores.
    """

    kind: Literal["dns"] = "dns"
    candidates: PositiveInt = 10
    """More candidates give harder negatives, and more false ones."""
    top: PositiveInt = later(1)
    """More give easier negatives, and fewer false ones."""

    @model_validator(mode="after")
    def _top_among_candidates(self) -> Self:
        if self.top > self.candidates:
            raise ValueError(f"found top {self.top} of {self.candidates} candidates; lower top or draw more candidates")
        return self

    def build(self, inputs: SamplerInputs) -> DNSSampler:
        """Take the trees at hand where the views have a weight."""
        return DNSSampler(self, self.views(inputs))


@dataclass(frozen=True)
class DNSSampler:
    """Chooses catalogue items by their pooled embeddings."""

    options: DNS
    views: TreeViews | None

    @property
    def n_candidates(self) -> int:
        """As configured."""
        return self.options.candidates

    @property
    def hops_read(self) -> HopsRead:
        """None: it reads the pooled tables."""
        return "none"

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:
        """Return items (batch, 1); of equals the first candidate goes before. The choice carries no gradient."""
        users, items = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        if self.options.top == 1 and self.views is None:
            return Items(hardest(users, items, candidates).unsqueeze(1))
        ranks = None if self.options.top == 1 else self._ranks(batch, stream)
        return choose_candidates(self.views, batch, score_all(users, items, candidates), candidates, ranks)

    def _ranks(self, batch: Batch, stream: Stream) -> Tensor:
        """Each pair's own number of 0..top - 1, (batch,)."""
        unit = stream.uniform(batch.rows.cpu().numpy(), 1)[:, 0].astype(np.float64)
        return torch.from_numpy((unit * self.options.top).astype(np.int64)).to(batch.rows.device)
