"""What a training step lowers."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hardneg.models import bpr_of_rows, l2
from hardneg.sampling.sampler import gather_rows
from hardneg.types import Batch, Embeddings, Items, Negatives


def objective(batch: Batch, embeddings: Embeddings, negatives: Negatives, weight: float) -> Tensor:
    """BPR on the pooled embeddings, plus weight x the L2 of the hop-0 rows, plus the sampler's own loss."""
    loss = _of_pairs(batch, embeddings, negatives, weight)
    return loss if negatives.auxiliary is None else loss + negatives.auxiliary


def weighted_objective(
    batch: Batch, embeddings: Embeddings, negatives: Negatives, l2_weight: float, n_train: int, weight: float
) -> Tensor:
    """`objective` with pairs after the first n_train counted `weight` times: a weighted mean over the batch's pairs.

    BPR and L2 of a pair are weighted alike; the sampler's own loss is as the sampler made it.
    """
    n_extra = len(batch.rows) - n_train
    if n_extra == 0 or weight == 1:
        return objective(batch, embeddings, negatives, l2_weight)
    parts = ((slice(0, n_train), float(n_train)), (slice(n_train, None), weight * n_extra))
    losses = [
        heaviness * _of_pairs(_rows_of(batch, part), embeddings, _negatives_of(negatives, part), l2_weight)
        for part, heaviness in parts
        if heaviness
    ]
    loss: Tensor = torch.stack(losses).sum() / (n_train + weight * n_extra)
    return loss if negatives.auxiliary is None else loss + negatives.auxiliary


def _of_pairs(batch: Batch, embeddings: Embeddings, negatives: Negatives, weight: float) -> Tensor:
    if isinstance(negatives, Items):
        items = torch.cat([batch.positives.unsqueeze(1), negatives.items], dim=1)
        scored, mixed = gather_rows(embeddings.final_items, items), list[Tensor]()
    else:
        items = batch.positives.unsqueeze(1)
        given = negatives.positives
        positives = gather_rows(embeddings.final_items, items) if given is None else given.unsqueeze(1)
        scored, mixed = torch.cat([positives, negatives.vectors], dim=1), [negatives.ego]
    loss = bpr_of_rows(gather_rows(embeddings.final_users, batch.users), scored)
    if weight > 0:
        loss = loss + weight * l2(
            gather_rows(embeddings.users[0], batch.users), gather_rows(embeddings.items[0], items), *mixed
        )
    return loss


def _rows_of(batch: Batch, part: slice) -> Batch:
    return replace(batch, rows=batch.rows[part], users=batch.users[part], positives=batch.positives[part])


def _negatives_of(negatives: Negatives, part: slice) -> Negatives:
    """What the loss reads of some rows."""
    if isinstance(negatives, Items):
        return replace(negatives, items=negatives.items[part])
    positives = None if negatives.positives is None else negatives.positives[part]
    return replace(negatives, vectors=negatives.vectors[part], ego=negatives.ego[part], positives=positives)
