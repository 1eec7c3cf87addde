"""Two views of the items: candidates that share a path with the positive are preferred (DTL-NS, arXiv 2602.18249).

A candidate's preference is scaled to [0, 1] over the candidates of its pair, and what the structural and the semantic
tree say of it beside the positive is added: z_m + alpha_c sim_c(i, m) + alpha_s sim_s(i, m).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import NonNegativeFloat
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.config import later
from hardneg.errors import ConfigError
from hardneg.sampling.config import SamplerConfig
from hardneg.sampling.kernels import argmax_with_bonus, scale_and_add
from hardneg.sampling.ranking import pick_by_rank, score_all
from hardneg.sampling.sampler import SamplerInputs, require_known_rows
from hardneg.trees import PathCodes, prefix_similarity
from hardneg.types import Batch, Items

EPSILON = 1e-8
"""Added to the range of a pair's preferences; where all are equal they are scaled to 0."""

Similarities = dict[str, NDArray[np.float32]]
"""View -> similarity of candidates with the positive, (batch, n) in [0, 1]."""


class TreeWeights(SamplerConfig):
    """Weights of the views for a sampler that may look at them; without any weight it looks at none, to the bit."""

    alpha_c: NonNegativeFloat = later(0.0)
    """Weight of the similarity in the structural tree, beside a preference of 0 to 1."""
    alpha_s: NonNegativeFloat = later(0.0)
    """Weight of that in the semantic tree."""

    @property
    def reads_trees(self) -> bool:
        """Does it need trees to be built?"""
        return self.alpha_c > 0 or self.alpha_s > 0

    def views(self, inputs: SamplerInputs) -> TreeViews | None:
        """The views that have a weight, from the trees at hand; None where neither has one."""
        if not self.reads_trees:
            return None
        if inputs.trees is None:
            raise ConfigError(
                f"sampler {getattr(self, 'kind', '')!r} found no trees; grow them with `hardneg trees` and pass "
                "--trees, or set alpha_c and alpha_s to 0"
            )
        trees = inputs.trees
        both = (("structural", trees.structural, self.alpha_c), ("semantic", trees.semantic, self.alpha_s))
        return TreeViews(tuple(TreeView(*view) for view in both if view[2] > 0))


def tree_weights(sampler: object) -> TreeWeights | None:
    """The sampler that may look at trees: this one, or the one inside (semantic-mixing); None where neither may."""
    inner = getattr(sampler, "sampler", sampler)
    return inner if isinstance(inner, TreeWeights) else None


@dataclass(frozen=True)
class TreeView:
    """A tree, and how much it counts."""

    name: str
    codes: PathCodes
    weight: float


@dataclass(frozen=True)
class TreeViews:
    """The views that have a weight."""

    views: tuple[TreeView, ...]

    def similarities(self, positives: Tensor, candidates: Tensor) -> Similarities:
        """How alike each pair's positive (batch,) and candidates (batch, n) are, view by view."""
        items, others = positives.cpu().numpy(), candidates.cpu().numpy()
        return {view.name: prefix_similarity(view.codes, items, others) for view in self.views}

    def bonus(self, similarities: Similarities) -> NDArray[np.float32]:
        """Their weighted sum, (batch, n)."""
        weighted = [np.float32(view.weight) * similarities[view.name] for view in self.views]
        return weighted[0] if len(weighted) == 1 else weighted[0] + weighted[1]


def similarity_totals(similarities: Similarities, places: Tensor) -> dict[str, tuple[float, float]]:
    """For a run's metrics: similarity with the positive of the candidates chosen, at places (batch, m), and of all."""
    found: dict[str, tuple[float, float]] = {}
    for name, of_all in similarities.items():
        rows_ = np.arange(0, of_all.size, of_all.shape[1])[:, None]
        of_chosen = of_all.ravel().take(rows_ + places.cpu().numpy())
        for whose, values in (("chosen", of_chosen), ("candidates", of_all)):
            found[f"{name} similarity of {whose}"] = float(values.sum()), float(values.size)
    return found


def add_tree_bonus(preferences: Tensor, bonus: NDArray[np.float32], spare: Tensor) -> Tensor:
    """(p - min) / (max - min + spare) + bonus over each row of preferences (batch, n); NaN stays NaN.

    bonus: (batch, n). spare: (batch,).
    """
    if preferences.device.type != "cpu":
        missing = preferences.isnan()
        low = preferences.masked_fill(missing, torch.inf).amin(dim=1, keepdim=True)
        high = preferences.masked_fill(missing, -torch.inf).amax(dim=1, keepdim=True)
        scaled = (preferences - low) / (high - low + spare.unsqueeze(1))
        return scaled + torch.from_numpy(bonus).to(preferences.device)
    out = preferences.clone()
    scale_and_add(out.numpy(), spare.numpy(), bonus)
    return out


def best_with_bonus(
    queries: Tensor, table: Tensor, candidates: Tensor, bonus: NDArray[np.float32], spare: Tensor
) -> Tensor:
    """Where in each row of candidates (batch, n) the best of `add_tree_bonus` stands, preferences being scores: (batch,).

    As `pick_by_rank` of `add_tree_bonus` of `score_all`, on the CPU in one pass. queries (batch, size), table (n_items, size).
    """
    if queries.device.type != "cpu":
        return pick_by_rank(add_tree_bonus(score_all(queries, table, candidates), bonus, spare))
    require_known_rows(candidates, table)
    arrays = (tensor.detach().contiguous().numpy() for tensor in (queries, table, candidates))
    places = np.empty(len(queries), np.int64)
    in_chunks(argmax_with_bonus, len(queries), *arrays, bonus, spare.contiguous().numpy(), places)
    return torch.from_numpy(places)


def choose_candidates(
    views: TreeViews | None, batch: Batch, preferences: Tensor, candidates: Tensor, ranks: Tensor | None = None
) -> Items:
    """Of each pair's candidates (batch, n) the one at its rank, preferences seen in the views where there are any."""
    if views is None:
        return Items(candidates.gather(1, pick_by_rank(preferences, ranks).unsqueeze(1)))
    similarities = views.similarities(batch.positives, candidates)
    spare = torch.full(preferences.shape[:1], EPSILON, device=preferences.device)
    places = pick_by_rank(add_tree_bonus(preferences, views.bonus(similarities), spare), ranks).unsqueeze(1)
    return Items(candidates.gather(1, places), totals=similarity_totals(similarities, places))
