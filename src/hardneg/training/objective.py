"""The training objective: a ranking loss, L2 and the sampler's auxiliary loss, for training pairs and extra positives."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.data.interactions import Interactions
from hardneg.errors import DataError
from hardneg.training.item_scores import item_scores, squared_norms
from hardneg.training.losses import BPR, LossConfig, ScoredLoss
from hardneg.training.triplets import JudgedTriplets
from hardneg.types import Batch, Embeddings, Indices, Items, Negatives, gather_rows

DEFAULT_LOSS = BPR()


def l2(*tables: Tensor) -> Tensor:
    """Return half the squared norm of hop-0 rows per pair: (1 / 2 batch) sum ||e||^2.

    tables: (batch, ..., size) each. Only hop 0 is regularised, as in the releases of MixGCF and LightGCN.
    """
    total: Tensor = _Squares.apply(*tables)  # type: ignore[no-untyped-call]
    return total / (2 * len(tables[0]))


class _Squares(torch.autograd.Function):
    """Sum of squares; backward is one product per table."""

    @staticmethod
    def forward(ctx: Any, *tables: Tensor) -> Tensor:
        ctx.save_for_backward(*tables)
        flat = [table.flatten() for table in tables]
        return torch.stack([torch.dot(table, table) for table in flat]).sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, ...]:
        return tuple(table * (2 * gradient) for table in ctx.saved_tensors)


@dataclass(frozen=True)
class ExtraPositives:
    """Pairs that are added to the loss only: not to masks, the graph or the exclusion set.

    pairs: must not contain training pairs. weight: of a pair's loss, relative to a training pair; 0 leaves the pairs out,
    so that training has the same bits as without them.
    """

    pairs: Interactions
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise DataError(f"found weight {self.weight:g} of extra positives, expected a number of 0 or more")


@dataclass(frozen=True)
class Positives:
    """The pairs of an epoch: training pairs, then extra pairs. triplets: added to the loss besides them.

    A training pair keeps its pair index, which artifacts refer to; indices of extra pairs follow after all of them.
    """

    train: Interactions
    extra: ExtraPositives | None = None
    triplets: JudgedTriplets | None = None

    def __post_init__(self) -> None:
        if self.extra is None:
            return
        if (self.pairs.n_users, self.pairs.n_items) != (self.train.n_users, self.train.n_items):
            raise DataError(
                f"found extra positives of {self.pairs.n_users} users and {self.pairs.n_items} items, expected "
                f"{self.train.n_users} and {self.train.n_items}; make them from this split"
            )
        observed = int(self.train.contains(self.pairs.users, self.pairs.items).sum())
        if observed:
            raise DataError(f"found {observed:,} train pairs among the extra positives, expected none; leave them out")

    def __len__(self) -> int:
        return len(self.users)

    @property
    def pairs(self) -> Interactions:
        """Extra pairs; empty if there are none or their weight is 0."""
        if self.extra is not None and self.extra.weight > 0:
            return self.extra.pairs
        nothing = np.empty(0, np.int64)
        return Interactions(nothing, nothing, self.train.n_users, self.train.n_items)

    @property
    def weight(self) -> float:
        """Weight of an extra pair."""
        return 1.0 if self.extra is None else self.extra.weight

    @cached_property
    def users(self) -> Indices:
        """Users of all pairs, (pairs,)."""
        return np.concatenate([self.train.users, self.pairs.users])

    @cached_property
    def items(self) -> Indices:
        """Items of all pairs, (pairs,)."""
        return np.concatenate([self.train.items, self.pairs.items])

    def train_first(self, rows: Indices) -> tuple[Indices, int]:
        """Move the training pairs of a batch to the front, in stable order; return pair indices and their number."""
        is_extra = rows >= len(self.train)
        n_train = len(rows) - int(is_extra.sum())
        return (rows if n_train == len(rows) else rows[np.argsort(is_extra, kind="stable")]), n_train


def objective(
    batch: Batch,
    embeddings: Embeddings,
    negatives: Negatives,
    l2_weight: float,
    *,
    n_train: int | None = None,
    extra_weight: float = 1.0,
    ranking: LossConfig = DEFAULT_LOSS,
) -> Tensor:
    """Return the ranking loss (BPR) of pooled embeddings + l2_weight x L2 of hop-0 rows + the sampler's auxiliary loss.

    The ranking loss and L2 are means over pairs; pairs after the first n_train have weight extra_weight, the others 1.
    Without a ranking loss that reads negatives, L2 is of users and positives alone.
    """
    n_train = len(batch.rows) if n_train is None else n_train
    n_extra = len(batch.rows) - n_train
    if n_extra == 0 or extra_weight == 1:
        loss = _pair_loss(batch, negatives, embeddings, l2_weight, ranking)
    else:
        parts = ((slice(0, n_train), float(n_train)), (slice(n_train, None), extra_weight * n_extra))
        losses = [
            weight * _pair_loss(*_select_pairs(batch, negatives, part), embeddings, l2_weight, ranking)
            for part, weight in parts
            if weight
        ]
        loss = torch.stack(losses).sum() / (n_train + extra_weight * n_extra)
    return loss if negatives.auxiliary is None else loss + negatives.auxiliary


def _pair_loss(
    batch: Batch, negatives: Negatives, embeddings: Embeddings, l2_weight: float, ranking: LossConfig
) -> Tensor:
    log_q = negatives.log_q if isinstance(negatives, Items) else None
    ranking.require_inputs(negatives.weights, log_q)
    if isinstance(negatives, Items):
        items = torch.cat([batch.positives.unsqueeze(1), negatives.items], dim=1)
        if items.shape[1] > 2 and isinstance(ranking, ScoredLoss):
            return _loss_of_scores(batch, items, negatives, embeddings, l2_weight, ranking)
        scored, ego = gather_rows(embeddings.final_items, items), list[Tensor]()
    else:
        items = batch.positives.unsqueeze(1)
        mixed = negatives.positives
        positives = gather_rows(embeddings.final_items, items) if mixed is None else mixed.unsqueeze(1)
        scored, ego = torch.cat([positives, negatives.vectors], dim=1), [negatives.ego]
    loss = ranking.of_rows(gather_rows(embeddings.final_users, batch.users), scored, negatives.weights, log_q)
    if l2_weight > 0:
        loss = loss + l2_weight * l2(
            gather_rows(embeddings.users[0], batch.users), gather_rows(embeddings.items[0], items), *ego
        )
    return loss


def _loss_of_scores(
    batch: Batch, items: Tensor, negatives: Items, embeddings: Embeddings, l2_weight: float, ranking: ScoredLoss
) -> Tensor:
    """Return the loss of several negatives that are items, from their scores."""
    users = gather_rows(embeddings.final_users, batch.users)
    scores = item_scores(users, embeddings.final_items, items)
    loss = ranking.of_scores(scores[:, 0], scores[:, 1:], negatives.weights, negatives.log_q)
    if l2_weight > 0:
        squares = gather_rows(embeddings.users[0], batch.users).square().sum()
        squares = squares + squared_norms(embeddings.items[0], items)
        loss = loss + l2_weight * squares / (2 * len(items))
    return loss


def _select_pairs(batch: Batch, negatives: Negatives, part: slice) -> tuple[Batch, Negatives]:
    """Select some pairs, with the fields of their negatives that the loss reads."""
    pairs = replace(batch, rows=batch.rows[part], users=batch.users[part], positives=batch.positives[part])
    weights = None if negatives.weights is None else negatives.weights[part]
    if isinstance(negatives, Items):
        log_q = None if negatives.log_q is None else negatives.log_q[part]
        return pairs, replace(negatives, items=negatives.items[part], weights=weights, log_q=log_q)
    positives = None if negatives.positives is None else negatives.positives[part]
    vectors, ego = negatives.vectors[part], negatives.ego[part]
    return pairs, replace(negatives, vectors=vectors, ego=ego, positives=positives, weights=weights)
