"""Dynamic negative sampling: one of the highest scored candidates (Zhang et al., 2013; Shi et al., 2023)."""

from typing import Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.sampler import gather_rows, hardest, score_all
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, Items


class DNS(TreeWeights):
    """DNS(M, N): one of the M highest scored of N candidates, all M equally likely (eq. 2 of Shi et al.).

    top is M, candidates is N. M = 1 is the argmax of Zhang et al.; M = N is uniform sampling. Candidates are drawn
    independently, so an item may occur twice. The code of Shi et al. sums the loss over all M instead. With tree
    weights, candidates are ranked by the score of `hardneg.sampling.tree_similarity`.
    """

    kind: Literal["dns"] = "dns"
    candidates: PerRow = 10
    """More candidates give harder negatives, and more false negatives."""
    top: PerRow = 1
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
