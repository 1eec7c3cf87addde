"""In-batch candidates and negatives: positives of the other pairs of the batch (Yi et al., 2019)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.config import PerRow
from hardneg.data.interactions import Interactions
from hardneg.random import Stream
from hardneg.sampling.draws import draw_in_batch
from hardneg.sampling.popularity import WeightShares
from hardneg.sampling.sampler import ROUNDS, CandidateSource, StatelessSampler, UniformCandidates
from hardneg.sampling.sources import SourceConfig, SourceInputs
from hardneg.types import Batch, Embeddings, Floats, Indices, Items

WITHOUT = "pairs without a candidate in the batch"
"""Counter of pairs whose user has all positives of the batch; they get uniform candidates."""


@dataclass(frozen=True)
class InBatchCandidates:
    """Draws among the positives of a batch, except the pair's own and those in the user's exclusion set.

    excluded: pairs that are never drawn. positives: item of every pair, by pair index. rows: pair indices of the batch;
    None for those of each call. counters: WITHOUT, of this object's draws.
    """

    excluded: Interactions
    positives: Indices
    rows: Indices | None = None
    counters: dict[str, float] = field(default_factory=dict)

    def of_batch(self, rows: Indices) -> InBatchCandidates:
        """Return the source of one batch, whose counters start at 0."""
        return InBatchCandidates(self.excluded, self.positives, rows)

    def draw(self, rows: Indices, users: Indices, *, n: int, stream: Stream) -> Indices:
        """Draw with rejection; after ROUNDS rejections draw among the positives that are left. Counts as WITHOUT says."""
        items = np.empty((len(users), n), np.int64)
        batch = self.positives[rows if self.rows is None else self.rows]
        excluded = self.excluded.starts, self.excluded.items
        arguments = stream.key, stream.epoch, rows, users, (self.positives[rows], batch), excluded
        in_chunks(draw_in_batch, len(users), *arguments, ROUNDS, items)
        without = np.flatnonzero((items < 0).any(axis=1))
        if len(without):
            uniform = UniformCandidates(self.excluded)
            items[without] = uniform.draw(rows[without], users[without], n=n, stream=stream)
        self.counters[WITHOUT] = self.counters.get(WITHOUT, 0.0) + len(without)
        return items

    def log_probabilities(self, users: Indices, items: Indices) -> Floats:
        """Return the log of an item's share in the positives outside the user's exclusion set, as over many batches.

        An item that is no positive, drawn for a pair without a candidate in the batch, counts as one of one pair.
        """
        return self._shares.logs(users, items)

    @cached_property
    def _shares(self) -> WeightShares:
        counts = np.bincount(self.positives, minlength=self.excluded.n_items)
        return WeightShares(np.maximum(counts, 1).astype(np.float64), self.excluded)


class InBatchSource(SourceConfig):
    """Candidates among the positives of the batch's other pairs: popular items are drawn in proportion to their count."""

    kind: Literal["in-batch"] = "in-batch"

    def build(self, inputs: SourceInputs) -> CandidateSource:
        """Return the source."""
        return InBatchCandidates(inputs.excluded, inputs.positives)


class InBatchSampling(StatelessSampler):
    """In-batch negatives: positives of other pairs of the batch that the user does not have.

    They follow popularity; the sampled softmax with correct_bias subtracts the log of it (Yi et al., 2019). The correction
    is exact: it is the item's share in the positives outside the user's exclusion set. Drawn with replacement.
    """

    kind: Literal["in-batch"] = "in-batch"
    negatives: PerRow = 1
    """Number of negatives per pair."""
    keeps_candidates: ClassVar[bool] = True

    @property
    def own_source(self) -> SourceConfig:
        """The source of the same name."""
        return InBatchSource()

    @property
    def n_candidates(self) -> int:
        """Number of negatives."""
        return self.negatives

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return the candidates (batch, negatives)."""
        return Items(candidates)
