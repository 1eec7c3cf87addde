"""Semantic mixing: mixes the positive and the negative of another sampler with items of similar text.

e'_i = (1 - a) e_i + a e_k(i) and e'_j = (1 - a) e_j + a e_k(j). k(.) is drawn in each epoch among the nearest items. The
method is our own, without a paper. Neighbours by co-occurrence or at random serve as its controls.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from hardneg.config import PerRow
from hardneg.errors import ConfigError
from hardneg.random import Stream
from hardneg.sampling.dns import DNS
from hardneg.sampling.mined import ItemNeighbours, require_most
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.sampler import NegativeSampler, OuterSampler, SamplerConfig, SamplerInputs
from hardneg.sampling.uniform import Uniform
from hardneg.types import Batch, Embeddings, Floats, Negatives, Vectors, gather_rows

PARTNER = "neighbour"
"""Name of the neighbour among the parts of a mixed negative. The user may have interacted with that neighbour."""


class SemanticMixing(SamplerConfig):
    """Negatives of another sampler, mixed with items of similar text; positives as well."""

    kind: Literal["semantic-mixing"] = "semantic-mixing"
    sampler: Annotated[Uniform | DNS | MixGCF, Field(discriminator="kind")] = MixGCF()
    """The sampler whose negatives are mixed."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of the neighbour, 0 to 1; 0 gives the negatives of the inner sampler unchanged."""
    neighbours: PerRow = 10
    """Number of nearest items from which the neighbour is drawn."""
    allow_empty: bool = False
    """Accept neighbours of which most items have none; these items stay unmixed."""

    def build(self, inputs: SamplerInputs) -> SemanticMixingSampler:
        """Return the sampler. Raises ConfigError without neighbours."""
        if inputs.neighbours is None:
            raise ConfigError(
                "sampler 'semantic-mixing' found no neighbours; find them with `hardneg neighbours find` and pass "
                "--negatives FOLDER"
            )
        nearest = inputs.neighbours.nearest(self.neighbours)
        require_most(nearest.counts > 0, f"items ({nearest.source})", "neighbour", allow_empty=self.allow_empty)
        return SemanticMixingSampler(self, self.sampler.build(inputs), nearest)


@dataclass(frozen=True)
class SemanticMixingSampler(OuterSampler, NegativeSampler):
    """Mixes with gradients into the neighbours. Items without a neighbour stay unchanged; such positives are counted.

    A vector of several items (MixGCF) is mixed with a neighbour of one of them, all equally likely. The L2 term uses
    the hop-0 rows of the inner sampler; neighbours are read from the pooled table.
    """

    options: SemanticMixing
    inner: NegativeSampler
    neighbours: ItemNeighbours

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
        """Return the neighbours of the positives and of every candidate, (batch, 1 + n)."""
        if self.options.alpha == 0:
            return candidates[:, :0]
        positive_units, negative_units, _ = self._units(batch, stream)
        items = torch.cat([batch.positives.unsqueeze(1), candidates], dim=1)
        units = np.concatenate([positive_units, np.broadcast_to(negative_units, candidates.shape)], axis=1)
        return self._draw_neighbours(items, units)

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return vectors (batch, n, final size), and positives (batch, final size) that replace the positive rows."""
        negatives = self.inner.sample(batch, embeddings, candidates, stream)
        if self.options.alpha == 0:
            return negatives
        unmixed = _to_vectors(negatives, embeddings)
        positive_units, negative_units, part_units = self._units(batch, stream)
        partners = self._draw_neighbours(batch.positives, positive_units[:, 0])
        part = torch.from_numpy((part_units[:, :, None] * len(unmixed.parts)).astype(np.int64)).to(candidates.device)
        items = unmixed.sources.gather(2, part.expand(-1, unmixed.sources.shape[1], 1)).squeeze(2)
        others = self._draw_neighbours(items, np.broadcast_to(negative_units, items.shape))
        table = embeddings.final_items
        return replace(
            unmixed,
            vectors=self._mix(unmixed.vectors, gather_rows(table, others)),
            positives=self._mix(gather_rows(table, batch.positives), gather_rows(table, partners)),
            sources=torch.cat([unmixed.sources, torch.where(others == items, -1, others).unsqueeze(2)], dim=2),
            parts=(*unmixed.parts, PARTNER),
            counters={
                **unmixed.counters,
                "pairs mixed with a neighbour": len(partners),
                "positives without a neighbour": float((partners == batch.positives).sum()),
            },
        )

    def _units(self, batch: Batch, stream: Stream) -> tuple[Floats, Floats, Floats]:
        """Draw three random numbers per pair, (batch, 1) each, independent of those of the inner sampler."""
        units = replace(stream, purpose=f"{stream.purpose}, neighbours").uniform(batch.rows.cpu().numpy(), 3)
        return units[:, :1], units[:, 1:2], units[:, 2:]

    def _draw_neighbours(self, items: Tensor, units: Floats) -> Tensor:
        return torch.from_numpy(self.neighbours.draw(items.cpu().numpy(), units)).to(items.device)

    def _mix(self, own: Tensor, partner: Tensor) -> Tensor:
        return (1 - self.options.alpha) * own + self.options.alpha * partner


def _to_vectors(negatives: Negatives, embeddings: Embeddings) -> Vectors:
    """Return items as the vectors of their pooled rows."""
    if isinstance(negatives, Vectors):
        return negatives
    return Vectors(
        vectors=gather_rows(embeddings.final_items, negatives.items),
        ego=gather_rows(embeddings.items[0], negatives.items),
        sources=negatives.items.unsqueeze(2),
        parts=("item",),
        auxiliary=negatives.auxiliary,
        counters=negatives.counters,
        totals=negatives.totals,
    )
