"""Preference for candidates near the positive in the item trees (DTL-NS, arXiv 2602.18249).

The score of a candidate is scaled to [0, 1] over the candidates of its pair. Its similarities with the positive in the
structural and the semantic tree are added: z_m + alpha_c sim_c(i, m) + alpha_s sim_s(i, m).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.config import PerRow
from hardneg.errors import ConfigError
from hardneg.random import Stream
from hardneg.sampling.kernels import argmax_with_bonus, scale_and_add
from hardneg.sampling.sampler import (
    NegativeSampler,
    SamplerConfig,
    SamplerInputs,
    pick_by_rank,
    require_known_rows,
    score_all,
)
from hardneg.trees import PathCodes, prefix_similarity
from hardneg.types import Batch, Embeddings, HopsRead, Items, Negatives

EPSILON = 1e-8
"""Added to the range of the preferences of a pair, so that equal preferences are scaled to 0."""

TreeViews = dict[str, tuple[PathCodes, float]]
"""Name of a tree -> its path codes, and the weight of their similarity; trees with a weight above 0 only."""

Similarities = dict[str, NDArray[np.float32]]
"""Name of a tree -> similarity of candidates with the positive, (batch, n) in [0, 1]."""


class TreeWeights(SamplerConfig):
    """Weights of the two trees, for a sampler that can use them. With both at 0 the trees are not read."""

    candidates: PerRow
    """Number of candidates per pair."""
    alpha_c: NonNegativeFloat = 0.0
    """Weight of the similarity in the structural tree; scores are scaled to [0, 1]."""
    alpha_s: NonNegativeFloat = 0.0
    """Weight of the similarity in the semantic tree."""

    hops_read: ClassVar[HopsRead] = "none"
    """Tables of hops above 0 that `choose` reads."""

    @property
    def reads_trees(self) -> bool:
        """True where a tree has a weight."""
        return self.alpha_c > 0 or self.alpha_s > 0

    def build(self, inputs: SamplerInputs) -> NegativeSampler:
        """Return the sampler, with the trees whose weight is above 0. Raises ConfigError where they are missing."""
        if not self.reads_trees:
            return TreeSampler(self, {})
        if inputs.trees is None:
            raise ConfigError(
                f"sampler {self.kind!r} found no trees; build them with `hardneg trees build` and pass --trees FOLDER, or "
                "set alpha_c and alpha_s to 0"
            )
        views = {
            "structural": (inputs.trees.structural, self.alpha_c),
            "semantic": (inputs.trees.semantic, self.alpha_s),
        }
        return TreeSampler(self, {name: view for name, view in views.items() if view[1] > 0})

    @abstractmethod
    def choose(
        self, views: TreeViews, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream
    ) -> Negatives:
        """Return negatives for every pair, as in `NegativeSampler.sample`. views: empty without trees."""
        ...


def tree_weights(sampler: object) -> TreeWeights | None:
    """Return the sampler that can use trees: this one, or the inner one of semantic mixing; None where neither can."""
    inner = getattr(sampler, "sampler", sampler)
    return inner if isinstance(inner, TreeWeights) else None


@dataclass(frozen=True)
class TreeSampler(NegativeSampler):
    """Prefers candidates near the positive in the item trees, as its options choose."""

    options: TreeWeights
    views: TreeViews

    @property
    def n_candidates(self) -> int:
        """Number of candidates, as configured."""
        return self.options.candidates

    @property
    def hops_read(self) -> HopsRead:
        """Tables of hops above 0 that the options read."""
        return self.options.hops_read

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return negatives for every pair, as `TreeWeights.choose` of the options."""
        return self.options.choose(self.views, batch, embeddings, candidates, stream)


def weigh_similarities(
    views: TreeViews, positives: Tensor, candidates: Tensor
) -> tuple[Similarities, NDArray[np.float32]]:
    """Return the similarities of positives (batch,) and candidates (batch, n), and their weighted sum (batch, n)."""
    items, others = positives.cpu().numpy(), candidates.cpu().numpy()
    similarities = {name: prefix_similarity(codes, items, others) for name, (codes, _) in views.items()}
    first, *more = (np.float32(weight) * similarities[name] for name, (_, weight) in views.items())
    return similarities, sum(more, first)


def similarity_totals(similarities: Similarities, places: Tensor) -> dict[str, tuple[float, float]]:
    """Return sum and count of the similarities of chosen candidates, in columns places (batch, m), and of all."""
    totals: dict[str, tuple[float, float]] = {}
    for name, values in similarities.items():
        row_starts = np.arange(0, values.size, values.shape[1])[:, None]
        chosen = values.ravel().take(row_starts + places.cpu().numpy())
        for group, members in (("chosen", chosen), ("candidates", values)):
            totals[f"{name} similarity of {group}"] = float(members.sum()), float(members.size)
    return totals


def add_tree_bonus(preferences: Tensor, bonus: NDArray[np.float32], epsilon: Tensor) -> Tensor:
    """Return (p - min) / (max - min + epsilon) + bonus for each row of preferences (batch, n). NaN stays NaN.

    bonus: (batch, n). epsilon: (batch,).
    """
    if preferences.device.type != "cpu":
        missing = preferences.isnan()
        low = preferences.masked_fill(missing, torch.inf).amin(dim=1, keepdim=True)
        high = preferences.masked_fill(missing, -torch.inf).amax(dim=1, keepdim=True)
        scaled = (preferences - low) / (high - low + epsilon.unsqueeze(1))
        return scaled + torch.from_numpy(bonus).to(preferences.device)
    out = preferences.clone()
    scale_and_add(out.numpy(), epsilon.numpy(), bonus)
    return out


def best_with_bonus(
    queries: Tensor, table: Tensor, candidates: Tensor, bonus: NDArray[np.float32], epsilon: Tensor
) -> Tensor:
    """Return the column of the best candidate (batch, n) by score and tree bonus: (batch,).

    Equals `pick_by_rank(add_tree_bonus(score_all(...)))`; the CPU does it in one pass. queries: (batch, size). table:
    (n_items, size).
    """
    if queries.device.type != "cpu":
        return pick_by_rank(add_tree_bonus(score_all(queries, table, candidates), bonus, epsilon))
    require_known_rows(candidates, table)
    arrays = (tensor.detach().contiguous().numpy() for tensor in (queries, table, candidates))
    places = np.empty(len(queries), np.int64)
    in_chunks(argmax_with_bonus, len(queries), *arrays, bonus, epsilon.contiguous().numpy(), places)
    return torch.from_numpy(places)


def choose_candidates(
    views: TreeViews, batch: Batch, preferences: Tensor, candidates: Tensor, ranks: Tensor | None = None
) -> Items:
    """Return the candidates of each pair (batch, n) at its ranks, by preference and, with `views`, tree similarity.

    ranks: (batch, k), None for the best one.
    """
    ranks = torch.zeros_like(candidates[:, :1]) if ranks is None else ranks
    if not views:
        return Items(candidates.gather(1, pick_by_rank(preferences, ranks)))
    similarities, bonus = weigh_similarities(views, batch.positives, candidates)
    epsilon = torch.full(preferences.shape[:1], EPSILON, device=preferences.device)
    places = pick_by_rank(add_tree_bonus(preferences, bonus, epsilon), ranks)
    return Items(candidates.gather(1, places), totals=similarity_totals(similarities, places))
