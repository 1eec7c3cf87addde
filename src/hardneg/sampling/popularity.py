"""Candidates and negatives drawn in proportion to a power of their train count (Mikolov et al., 2013, for words)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.config import PerRow
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.draws import draw_by_weight
from hardneg.sampling.sampler import ROUNDS, CandidateSource, StatelessSampler
from hardneg.sampling.sources import SourceConfig, SourceInputs
from hardneg.types import Batch, Embeddings, Floats, Indices, Items

Exponent = Annotated[float, Field(ge=0, le=10)]


@dataclass(frozen=True)
class PopularityCandidates:
    """Draws with a probability proportional to the weight of the item, outside `excluded`.

    weights: (n_items,) of 0 or more. Items of weight 0 are never drawn.
    """

    excluded: Interactions
    weights: Floats

    def __post_init__(self) -> None:
        has_weight = self.weights > 0
        excluded = np.bincount(
            self.excluded.users, weights=has_weight[self.excluded.items], minlength=self.excluded.n_users
        )
        without = np.flatnonzero(excluded >= has_weight.sum())
        if len(without):
            raise DataError(
                f"found {len(without)} user(s) with all {has_weight.sum()} items that have train pairs (first: user "
                f"{without[0]}), expected at least one item that can be drawn; choose uniform candidates, or drop these users"
            )

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw with rejection; after ROUNDS rejections draw from the exact complement, with its weights."""
        items = np.empty((len(users), n), np.int64)
        excluded = self.excluded.starts, self.excluded.items
        arguments = stream.key, stream.epoch, rows, users, (self._cumulative, self._last), excluded
        in_chunks(draw_by_weight, len(users), *arguments, ROUNDS, items)
        return items

    def log_probabilities(self, users: Indices, items: Indices) -> Floats:
        """Return the log of the share of items (batch, n) in the weights outside the exclusion sets of users (batch,)."""
        return self._shares.logs(users, items)

    @cached_property
    def _shares(self) -> WeightShares:
        return WeightShares(self.weights, self.excluded)

    @cached_property
    def _cumulative(self) -> Floats:
        return np.cumsum(self.weights.astype(np.float64))

    @cached_property
    def _last(self) -> int:
        """The last item with a weight."""
        return int(np.flatnonzero(self.weights > 0)[-1])


@dataclass(frozen=True)
class WeightShares:
    """Shares of items in the weights outside the exclusion set of each user. weights: (n_items,) of 0 or more."""

    weights: Floats
    excluded: Interactions

    def logs(self, users: Indices, items: Indices) -> Floats:
        """Return the logs of the shares of items (batch, n) for users (batch,), float32."""
        return np.asarray(np.log(self.weights[items] / self._free[users][:, None]), np.float32)

    @cached_property
    def _free(self) -> Floats:
        """Sum of the weights outside the exclusion set of each user, (n_users,)."""
        cumulative = np.concatenate([[0.0], np.cumsum(self.weights[self.excluded.items], dtype=np.float64)])
        starts = self.excluded.starts
        free = self.weights.sum(dtype=np.float64) - (cumulative[starts[1:]] - cumulative[starts[:-1]])
        least = self.weights[self.weights > 0].min()  # a difference of large sums may round to 0
        return np.asarray(np.maximum(free, least))


class PopularitySource(SourceConfig):
    """Candidates in proportion to their train count to the power of exponent, outside the user's exclusion set."""

    kind: Literal["popularity"] = "popularity"
    exponent: Exponent = 0.75
    """Power of the train count: 0 is uniform, 1 proportional; .75 is that of word2vec."""

    def build(self, inputs: SourceInputs) -> CandidateSource:
        """Return the source. Items without train pairs are drawn at exponent 0 only."""
        return PopularityCandidates(inputs.excluded, inputs.train.item_counts.astype(np.float64) ** self.exponent)


class PopularitySampling(StatelessSampler):
    """Popularity-biased negatives: unobserved items in proportion to their train count to the power of exponent.

    Popular items are harder negatives, and less often false ones where users see popular items and skip them. The negatives
    are the candidates of the source `popularity`, whose probabilities the sampled softmax can correct for.
    """

    kind: Literal["popularity"] = "popularity"
    exponent: Exponent = 0.75
    """Power of the train count: 0 is uniform, 1 proportional; .75 is that of word2vec."""
    negatives: PerRow = 1
    """Number of negatives per pair."""
    keeps_candidates: ClassVar[bool] = True

    @property
    def own_source(self) -> SourceConfig:
        """The source with the same exponent."""
        return PopularitySource(exponent=self.exponent)

    @property
    def n_candidates(self) -> int:
        """Number of negatives."""
        return self.negatives

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return the candidates (batch, negatives)."""
        return Items(candidates)
