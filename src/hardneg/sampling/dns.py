"""Dynamic negative sampling: one of the highest scored candidates (Zhang et al., 2013; Shi et al., 2023)."""

from typing import ClassVar, Literal, Self

import numpy as np
import torch
from pydantic import model_validator
from torch import Tensor

from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.sampler import hardest, score_all
from hardneg.sampling.tree_similarity import TreeViews, TreeWeights, choose_candidates
from hardneg.types import Batch, Embeddings, Indices, Items, gather_rows


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
    negatives: PerRow = 1
    """Number of negatives per pair, drawn from the top ones without replacement; `top` of them are all."""
    later_fields: ClassVar[frozenset[str]] = frozenset({"negatives"})

    @model_validator(mode="after")
    def _top_among_candidates(self) -> Self:
        if self.top > self.candidates:
            raise ValueError(f"found top {self.top} of {self.candidates} candidates; lower top or draw more candidates")
        if self.negatives > self.top:
            raise ValueError(f"found {self.negatives} negatives of the top {self.top}; raise top, or lower negatives")
        return self

    def choose(
        self, views: TreeViews, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream
    ) -> Items:
        """Return items (batch, negatives). The first of equal candidates ranks higher. The choice carries no gradient."""
        users, items = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        if self.top == 1 and not views:
            return Items(hardest(users, items, candidates).unsqueeze(1))
        ranks = None if self.top == 1 else torch.from_numpy(self._draw_ranks(batch, stream)).to(batch.rows.device)
        return choose_candidates(views, batch, score_all(users, items, candidates), candidates, ranks)

    def _draw_ranks(self, batch: Batch, stream: Stream) -> Indices:
        """Draw distinct ranks below `top`, (batch, negatives), as the first places of a shuffle."""
        rows = batch.rows.cpu().numpy()
        ranks = np.tile(np.arange(self.top), (len(rows), 1))
        if self.negatives < self.top:
            units, pairs = stream.uniform(rows, self.negatives).astype(np.float64), np.arange(len(rows))
            for place in range(self.negatives):
                other = place + (units[:, place] * (self.top - place)).astype(np.int64)
                ranks[pairs, other], ranks[:, place] = ranks[:, place].copy(), ranks[pairs, other]
        return ranks[:, : self.negatives]
