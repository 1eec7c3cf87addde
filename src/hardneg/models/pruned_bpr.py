"""BPR of single triplets of a user and two items, without the triplets that have the largest losses."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def triplet_losses(users: Tensor, liked: Tensor, disliked: Tensor) -> Tensor:
    """Return -log sigmoid(u . i - u . j) of each triplet, (n,). users, liked, disliked: (n, size)."""
    return F.softplus((users * (disliked - liked)).sum(dim=1))


def keep_smallest(losses: Tensor, prune: float) -> Tensor:
    """Return the smallest losses of (n,), in their order: all but round(n x prune) of them, and at least one.

    Source: the noise pruning of LLMRec (Wei et al., 2024): a large loss suggests a wrong label. Its release sorts the
    log-sigmoids, which are negative losses, in ascending order and keeps the first: the largest losses.
    """
    if not len(losses) or not prune:
        return losses
    kept = max(len(losses) - round(prune * len(losses)), 1)
    order = losses.detach().argsort(stable=True)[:kept]
    return losses[order.sort().values]
