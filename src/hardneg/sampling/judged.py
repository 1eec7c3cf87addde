"""Judged candidates as lesser negatives: drawn less often, or with a smaller weight in the loss.

Both uses read the same factor of a pair, (1 - p)^strength, where p is the judged probability that the user likes the item.
A pair without a judgement has p = 0 and the factor 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.kernels import look_up
from hardneg.sampling.sampler import (
    CandidateSource,
    NegativeSampler,
    OuterSampler,
    ReadsBatch,
    ReadsOtherItems,
    keeps_candidates,
)
from hardneg.types import Batch, Embeddings, Floats, Indices, Items, Negatives

REDRAWS = 30
"""Redraws of a penalized candidate, after which the last draw is kept."""
WEIGHT = "weight by the judge"
"""Metric of an epoch (split "negatives"): mean weight of the sampled negatives."""


@dataclass(frozen=True)
class PairFactors:
    """Factors of pairs (user, item), 1 for pairs that are not listed.

    pairs: the listed pairs. values: their factors in [0, 1], (len(pairs),) float32.
    """

    pairs: Interactions
    values: Floats

    def __post_init__(self) -> None:
        if self.values.shape != self.pairs.users.shape:
            raise DataError(f"found {len(self.values)} factors of {len(self.pairs)} pairs, expected one of each")

    @classmethod
    def of(cls, train: Interactions, users: Indices, items: Indices, probability: Floats, strength: float) -> Self:
        """Return the factors (1 - probability)^strength of distinct pairs (n,); NaN counts as 0.

        train: gives the numbers of users and items. Pairs with the factor 1 are left out.
        """
        values = ((1 - np.nan_to_num(probability)) ** strength).astype(np.float32)
        listed = np.flatnonzero(values < 1)
        listed = listed[np.lexsort((items[listed], users[listed]))]
        return cls(Interactions(users[listed], items[listed], train.n_users, train.n_items), values[listed])

    def look_up(self, users: Indices, items: Indices) -> Floats:
        """Return the factors of items (batch, n) for their users (batch,); -1 is no item and has the factor 1."""
        out = np.ones(items.shape, np.float32)
        if len(self.pairs):
            in_chunks(look_up, len(users), users, items, self.pairs.starts, self.pairs.items, self.values, out)
        return out

    @property
    def excluded(self) -> Interactions:
        """The pairs with the factor 0."""
        is_zero = self.values == 0
        pairs = self.pairs
        return Interactions(pairs.users[is_zero], pairs.items[is_zero], pairs.n_users, pairs.n_items)


@dataclass(frozen=True)
class PenalizedCandidates:
    """A candidate source whose draws are kept with a probability equal to their factor, and drawn again otherwise.

    An item is drawn with a probability proportional to that of the source times its factor. After REDRAWS redraws the
    last draw is kept, whatever its factor. Without listed pairs the draws are those of the source, to the bit.
    """

    source: CandidateSource
    factors: PairFactors

    @property
    def counters(self) -> dict[str, float]:
        """Return the counters of the source, if it has any."""
        return self.source.counters if isinstance(self.source, ReadsBatch) else {}

    def of_batch(self, rows: Indices) -> PenalizedCandidates:
        """Return the source of the batch with these pair indices."""
        return replace(self, source=self.source.of_batch(rows)) if isinstance(self.source, ReadsBatch) else self

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw as `CandidateSource.draw`."""
        items = self.source.draw(rows, users, n=n, stream=stream)
        affected, again = np.arange(len(rows)), items
        waiting = np.ones(items.shape, bool)
        for redraw in range(REDRAWS):
            factors = self.factors.look_up(users[affected], again)
            waiting = waiting & (factors < 1)
            if not waiting.any():
                break
            # Only rows with a listed item go on, so that most batches need one round.
            going_on = waiting.any(axis=1)
            affected, waiting, factors = affected[going_on], waiting[going_on], factors[going_on]
            units = replace(stream, purpose=f"{stream.purpose}, kept {redraw}").uniform(rows[affected], n)
            waiting = waiting & (units >= factors)
            drawing = replace(stream, purpose=f"{stream.purpose}, redraw {redraw}")
            again = self.source.draw(rows[affected], users[affected], n=n, stream=drawing)
            again = np.where(waiting, again, items[affected])
            items[affected] = again
        return items


class WeighedSampler(OuterSampler, nn.Module):
    """Another sampler whose negatives have weights in the loss: the factors of their items.

    A negative that was mixed from several items has the smallest of their factors. Where all factors are 1, the negatives
    have no weights. Auxiliary losses and the L2 term are unweighted.
    """

    def __init__(self, inner: NegativeSampler, factors: PairFactors) -> None:
        super().__init__()
        self.inner, self.factors = inner, factors

    @property
    def keeps_candidates(self) -> bool:
        """Return True where the inner sampler keeps its candidates."""
        return keeps_candidates(self.inner)

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
        """Return those of the inner sampler, if it reads any."""
        if isinstance(self.inner, ReadsOtherItems):
            return self.inner.other_items(batch, candidates, stream)
        return candidates[:, :0]

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return the negatives of the inner sampler, with weights."""
        negatives = self.inner.sample(batch, embeddings, candidates, stream)
        sources = negatives.items.unsqueeze(2) if isinstance(negatives, Items) else negatives.sources
        users, items = batch.users.cpu().numpy(), sources.flatten(1).cpu().numpy()
        weights = self.factors.look_up(users, items).reshape(sources.shape).min(axis=2)
        totals = {**negatives.totals, WEIGHT: (float(weights.sum()), float(weights.size))}
        weighed = None if (weights == 1).all() else torch.from_numpy(weights).to(sources.device)
        return replace(negatives, weights=weighed, totals=totals)
