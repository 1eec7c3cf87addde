"""Full ranking in blocks of users: all items are ranked, only what is `seen` is masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.evaluation.kernels import top_k
from hardneg.evaluation.metrics import METRICS, parse_metric
from hardneg.evaluation.shortlist import Shortlist
from hardneg.types import Embeddings, Flags, Floats, Indices

BLOCK = 128
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


@dataclass(frozen=True)
class InnerProduct:
    """A score function that knows its tables: pooled users (n_users, size) and items (size, n_items).

    shortlist: ranks by way of 16 bits where given.
    """

    users: Tensor
    items: Tensor
    shortlist: Shortlist | None = None

    def __call__(self, block: Indices) -> Tensor:
        """(block,) users -> (block, n_items) scores."""
        return self.users[torch.from_numpy(block).to(self.users.device)] @ self.items


def inner_product(embeddings: Embeddings, *, shortlist: bool = False) -> InnerProduct:
    """Score by the inner product of pooled embeddings.

    shortlist: on the CPU, find the candidates of a ranking in bfloat16 and decide in float32. Exact either way, but for
    items whose scores differ by the rounding of 32-bit sums alone; quicker where the processor multiplies bfloat16,
    slower elsewhere.
    """
    users, items = embeddings.final_users.detach(), embeddings.final_items.detach()
    if not (users.isfinite().all() and items.isfinite().all()):
        raise DataError("the embeddings hold numbers that are not finite; train again with a lower learning rate")
    small = Shortlist.of(users, items) if shortlist and users.device.type == "cpu" else None
    return InnerProduct(users, items.T.contiguous(), small)


def evaluate_scores(
    score: ScoreFunction, held_out: Interactions, seen: Interactions, *, metrics: tuple[str, ...], block: int = BLOCK
) -> Evaluation:
    """Rank all items for every user with held-out pairs and measure.

    seen: pairs that are masked, the observed train pairs and nothing that a method added. metrics: such as
    "recall@20". The result does not depend on `block`.
    """
    users = np.flatnonzero(held_out.counts)
    if not len(users):
        raise DataError("no user has held-out pairs, so there is nothing to measure; check the split")
    wanted = {name: parse_metric(name) for name in metrics}
    depth = max(k for _, k in wanted.values())
    hits = np.concatenate(
        [_hits(score, users[i : i + block], held_out, seen, depth) for i in range(0, len(users), block)]
    )
    n_relevant = held_out.counts[users]
    values = {name: METRICS[metric](hits, n_relevant, k=k) for name, (metric, k) in wanted.items()}
    return Evaluation(users, n_relevant, values)


def top_items(score: ScoreFunction, users: Indices, seen: Interactions, k: int) -> Indices:
    """The k best items of each user that the user has not seen, best first, of equals the lower item first: (users, k),
    -1 where there are fewer."""
    if k < 1 or (len(users) and users.max() >= seen.n_users):
        raise DataError(
            f"found depth {k} and users up to {users.max(initial=0)}, expected 1 or more and users below {seen.n_users}"
        )
    if isinstance(score, InnerProduct) and score.items.shape[1] != seen.n_items:
        raise DataError(f"found scores of {score.items.shape[1]} items, expected {seen.n_items} as in the pairs seen")
    if isinstance(score, InnerProduct) and score.shortlist is not None:
        return score.shortlist.top_items(users, seen, k)
    scores = score(users)
    if scores.shape != (len(users), seen.n_items):
        raise DataError(f"found scores {tuple(scores.shape)}, expected {(len(users), seen.n_items)}: users x items")
    best = np.empty((len(users), min(k, scores.shape[1])), np.int64)
    own = np.array(scores.cpu().numpy(), np.float32)  # a copy: what was seen is masked in it
    in_chunks(top_k, len(users), own, users, seen.starts, seen.items, best)
    return best


def _hits(score: ScoreFunction, users: Indices, held_out: Interactions, seen: Interactions, depth: int) -> Flags:
    """(users, depth) True where the item at that rank is held out; False beyond the catalogue."""
    ranked = top_items(score, users, seen, depth)
    hits = np.zeros((len(users), depth), bool)
    hits[:, : ranked.shape[1]] = (ranked >= 0) & held_out.contains(users[:, None], np.maximum(ranked, 0))
    return hits
