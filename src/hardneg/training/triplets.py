"""Triplets of a judge in the loss: a user, the candidate most likely liked and the one least likely (LLMRec)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hardneg.errors import DataError
from hardneg.models.pruned_bpr import keep_smallest, triplet_losses
from hardneg.random import Stream
from hardneg.types import Batch, Embeddings, Indices, gather_rows


@dataclass(frozen=True)
class BatchTriplets:
    """Triplets of one step: users, liked, disliked (n,)."""

    users: Tensor
    liked: Tensor
    disliked: Tensor


@dataclass(frozen=True)
class JudgedTriplets:
    """One triplet a user at most, added to a share of the training pairs (Wei et al., 2024).

    liked, disliked: (n_users,) items, -1 for users without a triplet. share: probability with which a training pair adds the
    triplet of its user. prune: share of the triplets of a step, those with the largest losses, that are left out. weight: of
    a triplet's loss, relative to a training pair; 0 trains to the bit as without triplets.

    The loss of a triplet is BPR, without L2, whatever the ranking loss. The release prunes training pairs as well; here
    only triplets are pruned, since no judge wrote the others.
    """

    liked: Indices
    disliked: Indices
    share: float = 0.1
    prune: float = 0.71
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.liked.shape != self.disliked.shape or ((self.liked < 0) != (self.disliked < 0)).any():
            raise DataError("found liked and disliked items of different users, expected both or neither of a user")
        if not (0 < self.share <= 1 and 0 <= self.prune < 1 and math.isfinite(self.weight) and self.weight >= 0):
            raise DataError(
                f"found share {self.share:g}, prune {self.prune:g} and weight {self.weight:g} of triplets, expected a share "
                "above 0 and up to 1, prune of 0 or more and below 1, and a weight of 0 or more"
            )

    def of_batch(self, batch: Batch, seed: int) -> BatchTriplets | None:
        """Return the triplets that the pairs of a batch add, None if there are none."""
        if not self.weight:
            return None
        rows, users = batch.rows.cpu().numpy(), batch.users.cpu().numpy()
        units = Stream(seed, "judged triplets", batch.epoch).uniform(rows, 1)[:, 0]
        users = users[(units < self.share) & (self.liked[users] >= 0)]
        if not len(users):
            return None
        arrays = users, self.liked[users], self.disliked[users]
        return BatchTriplets(
            *(torch.from_numpy(np.ascontiguousarray(array)).to(batch.users.device) for array in arrays)
        )

    def loss(self, triplets: BatchTriplets, embeddings: Embeddings, n_pairs: int) -> Tensor:
        """Return weight x the sum of the smallest losses / the number of training pairs of the batch."""
        losses = triplet_losses(
            gather_rows(embeddings.final_users, triplets.users),
            gather_rows(embeddings.final_items, triplets.liked),
            gather_rows(embeddings.final_items, triplets.disliked),
        )
        return self.weight * keep_smallest(losses, self.prune).sum() / n_pairs
