"""The training objective: BPR, L2 and the sampler's auxiliary loss."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from hardneg.models import bpr_of_rows, l2
from hardneg.sampling.sampler import gather_rows
from hardneg.types import Batch, Embeddings, Items, Negatives


def objective(
    batch: Batch,
    embeddings: Embeddings,
    negatives: Negatives,
    l2_weight: float,
    *,
    n_train: int | None = None,
    extra_weight: float = 1.0,
) -> Tensor:
    """Return BPR on the pooled embeddings + l2_weight x L2 of the hop-0 rows + the sampler's auxiliary loss.

    BPR and L2 are means over pairs; pairs after the first n_train have weight extra_weight, the others 1.
    """
    n_train = len(batch.rows) if n_train is None else n_train
    n_extra = len(batch.rows) - n_train
    if n_extra == 0 or extra_weight == 1:
        loss = _pair_loss(batch, embeddings, negatives, l2_weight)
    else:
        parts = ((slice(0, n_train), float(n_train)), (slice(n_train, None), extra_weight * n_extra))
        losses = [
            weight * _pair_loss(_select_pairs(batch, part), embeddings, _select_negatives(negatives, part), l2_weight)
            for part, weight in parts
            if weight
        ]
        loss = torch.stack(losses).sum() / (n_train + extra_weight * n_extra)
    return loss if negatives.auxiliary is None else loss + negatives.auxiliary


def _pair_loss(batch: Batch, embeddings: Embeddings, negatives: Negatives, l2_weight: float) -> Tensor:
    if isinstance(negatives, Items):
        items = torch.cat([batch.positives.unsqueeze(1), negatives.items], dim=1)
        scored, ego = gather_rows(embeddings.final_items, items), list[Tensor]()
    else:
        items = batch.positives.unsqueeze(1)
        mixed = negatives.positives
        positives = gather_rows(embeddings.final_items, items) if mixed is None else mixed.unsqueeze(1)
        scored, ego = torch.cat([positives, negatives.vectors], dim=1), [negatives.ego]
    loss = bpr_of_rows(gather_rows(embeddings.final_users, batch.users), scored)
    if l2_weight > 0:
        loss = loss + l2_weight * l2(
            gather_rows(embeddings.users[0], batch.users), gather_rows(embeddings.items[0], items), *ego
        )
    return loss


def _select_pairs(batch: Batch, part: slice) -> Batch:
    return replace(batch, rows=batch.rows[part], users=batch.users[part], positives=batch.positives[part])


def _select_negatives(negatives: Negatives, part: slice) -> Negatives:
    """Select rows of the fields that the loss reads."""
    if isinstance(negatives, Items):
        return replace(negatives, items=negatives.items[part])
    positives = None if negatives.positives is None else negatives.positives[part]
    return replace(negatives, vectors=negatives.vectors[part], ego=negatives.ego[part], positives=positives)
