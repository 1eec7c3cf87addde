"""Semantic mixing: the positive and the negative of any sampler each lean towards an item that is near in text.

e'_i = (1 - a) e_i + a e_k(i) and e'_j = (1 - a) e_j + a e_k(j), k(.) drawn anew each epoch among the nearest items. Found
in an exploration of our own; no paper. With other neighbours (co-occurrence, random) it is its own control.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from hardneg.errors import ConfigError
from hardneg.random import Stream
from hardneg.sampling.config import SamplerConfig
from hardneg.sampling.dns import DNS
from hardneg.sampling.item_neighbours import ItemNeighbours
from hardneg.sampling.mixgcf import MixGCF
from hardneg.sampling.sampler import NegativeSampler, SamplerInputs, gather_rows
from hardneg.sampling.uniform import Uniform
from hardneg.types import Batch, Embeddings, Floats, HopsRead, Negatives, Vectors

PARTNER = "neighbour"
"""Name of the neighbour among the parts of a mixed negative. The user may have interacted with that neighbour."""


class SemanticMixing(SamplerConfig):
    """A sampler, and how far both sides lean towards their neighbours."""

    kind: Literal["semantic-mixing"] = "semantic-mixing"
    sampler: Annotated[Uniform | DNS | MixGCF, Field(discriminator="kind")] = MixGCF()
    """What chooses the negatives; it knows nothing of the smoothing."""
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.4
    """Share of the neighbour; 0 is the sampler alone, bit for bit."""
    neighbours: PositiveInt = 10
    """How many of the nearest items are drawn from."""

    def build(self, inputs: SamplerInputs) -> SemanticMixingSampler:
        """Build the sampler inside, and take the neighbours at hand."""
        if inputs.neighbours is None:
            raise ConfigError(
                "sampler 'semantic-mixing' found no neighbours; find them with `hardneg neighbours` and pass --negatives"
            )
        return SemanticMixingSampler(self, self.sampler.build(inputs), inputs.neighbours.nearest(self.neighbours))


@dataclass(frozen=True)
class SemanticMixingSampler:
    """Gradients flow into the neighbours. An item without one stays as it is; such positives are counted.

    A vector made of several items (MixGCF) leans towards a neighbour of one of them, all equally likely. The L2 term
    sees the hop-0 rows that it would see without smoothing.
    """

    options: SemanticMixing
    inside: NegativeSampler
    neighbours: ItemNeighbours

    @property
    def n_candidates(self) -> int:
        """As the sampler inside."""
        return self.inside.n_candidates

    @property
    def hops_read(self) -> HopsRead:
        """As the sampler inside; neighbours are read from the pooled table."""
        return self.inside.hops_read

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
        """Neighbours drawn for the positives and for every candidate: (batch, 1 + n)."""
        if self.options.alpha == 0:
            return candidates[:, :0]
        of_positive, of_negative, _ = self._units(batch, stream)
        items = torch.cat([batch.positives.unsqueeze(1), candidates], dim=1)
        units = np.concatenate([of_positive, np.broadcast_to(of_negative, candidates.shape)], axis=1)
        return self._drawn(items, units)

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return vectors (batch, n, final size) for the negatives and (batch, final size) in the positives' place."""
        inner = self.inside.sample(batch, embeddings, candidates, stream)
        if self.options.alpha == 0:
            return inner
        found = _as_vectors(inner, embeddings)
        of_positive, of_negative, of_part = self._units(batch, stream)
        partners = self._drawn(batch.positives, of_positive[:, 0])
        part = torch.from_numpy((of_part[:, :, None] * len(found.parts)).astype(np.int64)).to(candidates.device)
        meant = found.sources.gather(2, part.expand(-1, found.sources.shape[1], 1)).squeeze(2)
        others = self._drawn(meant, of_negative)
        table = embeddings.final_items
        return replace(
            found,
            vectors=self._mixed(found.vectors, gather_rows(table, others)),
            positives=self._mixed(gather_rows(table, batch.positives), gather_rows(table, partners)),
            sources=torch.cat([found.sources, torch.where(others == meant, -1, others).unsqueeze(2)], dim=2),
            parts=(*found.parts, PARTNER),
            counters={
                **found.counters,
                "pairs mixed with a neighbour": len(partners),
                "positives without a neighbour": float((partners == batch.positives).sum()),
            },
        )

    def _units(self, batch: Batch, stream: Stream) -> tuple[Floats, Floats, Floats]:
        """The pairs' own numbers, (batch, 1) each, apart from those of the sampler inside."""
        own = replace(stream, purpose=f"{stream.purpose}, neighbours").uniform(batch.rows.cpu().numpy(), 3)
        return own[:, :1], own[:, 1:2], own[:, 2:]

    def _drawn(self, items: Tensor, units: Floats) -> Tensor:
        return torch.from_numpy(self.neighbours.draw(items.cpu().numpy(), units)).to(items.device)

    def _mixed(self, own: Tensor, partner: Tensor) -> Tensor:
        return (1 - self.options.alpha) * own + self.options.alpha * partner


def _as_vectors(negatives: Negatives, embeddings: Embeddings) -> Vectors:
    """Catalogue items as the vectors that they are."""
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
