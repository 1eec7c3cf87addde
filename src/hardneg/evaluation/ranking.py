"""Full ranking in blocks of users: all items are ranked, only what is `seen` is masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.evaluation.metrics import METRICS, split_name
from hardneg.types import Embeddings, Flags, Floats, Indices

BLOCK = 512
"""Users whose scores are held at once: block x n_items x 4 bytes."""

ScoreFunction = Callable[[Indices], Tensor]
"""Users (block,) -> scores of every item (block, n_items)."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics of every user who has held-out items.

    users: (n,). n_relevant: (n,) held-out items. values: metric name -> (n,).
    """

    users: Indices
    n_relevant: Indices
    values: dict[str, Floats]

    def means(self) -> dict[str, float]:
        """Metric name -> mean over users."""
        return {name: float(value.mean()) for name, value in self.values.items()}


def inner_product(embeddings: Embeddings) -> ScoreFunction:
    """Score by the inner product of pooled embeddings."""
    users, items = embeddings.final_users.detach(), embeddings.final_items.detach().T.contiguous()
    if not (users.isfinite().all() and items.isfinite().all()):
        raise DataError("the embeddings hold numbers that are not finite; train again with a lower learning rate")
    return lambda block: users[torch.from_numpy(block).to(users.device)] @ items


def evaluate(
    score: ScoreFunction, held_out: Interactions, seen: Interactions, *, metrics: tuple[str, ...], block: int = BLOCK
) -> Evaluation:
    """Rank all items for every user with held-out pairs and measure.

    seen: pairs that are masked, the observed train pairs and nothing that a method added. metrics: such as
    "recall@20". The result does not depend on `block`.
    """
    users = np.flatnonzero(held_out.counts)
    if not len(users):
        raise DataError("no user has held-out pairs, so there is nothing to measure; check the split")
    wanted = {name: split_name(name) for name in metrics}
    depth = max(k for _, k in wanted.values())
    hits = np.concatenate(
        [_hits(score, users[i : i + block], held_out, seen, depth) for i in range(0, len(users), block)]
    )
    n_relevant = held_out.counts[users]
    values = {name: METRICS[metric](hits, n_relevant, k=k) for name, (metric, k) in wanted.items()}
    return Evaluation(users, n_relevant, values)


def top_items(score: ScoreFunction, users: Indices, seen: Interactions, k: int) -> Indices:
    """The k best items of each user that the user has not seen, best first: (users, k), -1 where there are fewer."""
    scores = score(users).clone()
    counts = seen.counts[users]
    starts = np.repeat(seen.starts[users] - np.cumsum(counts) + counts, counts)
    masked = seen.items[starts + np.arange(counts.sum())]
    rows = torch.from_numpy(np.repeat(np.arange(len(users)), counts))
    scores[rows, torch.from_numpy(masked)] = -torch.inf
    best = scores.topk(min(k, scores.shape[1]), dim=1)
    return np.asarray(best.indices.masked_fill(best.values == -torch.inf, -1).cpu().numpy())


def _hits(score: ScoreFunction, users: Indices, held_out: Interactions, seen: Interactions, depth: int) -> Flags:
    """(users, depth) True where the item at that rank is held out; False beyond the catalogue."""
    ranked = top_items(score, users, seen, depth)
    hits = np.zeros((len(users), depth), bool)
    hits[:, : ranked.shape[1]] = (ranked >= 0) & held_out.contains(users[:, None], np.maximum(ranked, 0))
    return hits
