"""Simplify and robustify negative sampling (SRNS; Ding et al., 2020): a memory of negatives, and the variance of their scores."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, model_validator
from torch import Tensor, nn

from hardneg.config import PerRow, Steps, require_memory
from hardneg.random import Stream
from hardneg.sampling.adaptive_softmax import gumbel_noise
from hardneg.sampling.sampler import SamplerConfig, SamplerInputs, TrainingPairs, pick_by_rank, require_pairs, score_all
from hardneg.types import Batch, Embeddings, HopsRead, Indices, Items, block_slices, gather_rows


class SRNS(SamplerConfig):
    """SRNS: of a memory of items per user, the one with the largest P + alpha_t std(P); false negatives vary little.

    P = sigmoid(s(u, k) - s(u, i)) of item k and positive i; std over the last `window` epochs, 0 where fewer than two of them
    followed the item; alpha_t = alpha min(1, t / warmup). After the choice the memory gets `extension` items of the user's
    pool, and keeps its size of them, drawn without replacement by softmax(s / temperature). The pool of an epoch is followed
    for `window` epochs before. The release follows pools of 3,000 items, about 15,000 scores per user and epoch; here a pool
    has 16, and memory is bounded by `memory` + (window + 1) x pool items per user. Its early-stop counter never restarts;
    here the loop of all samplers stops. Other defaults are those of its run script.
    """

    kind: Literal["srns"] = "srns"
    memory: PerRow = 8
    """Items in a user's memory (S1), of which the negative is chosen."""
    extension: PerRow = 8
    """Items of the pool that join the memory in every step (S2 without S1); 64 in the release."""
    pool: PerRow = 16
    """Items in a user's pool of one epoch; 3,000 in the release."""
    window: Annotated[int, Field(ge=2, le=20)] = 5
    """Epochs over which the standard deviation is taken."""
    alpha: NonNegativeFloat = 5.0
    """Weight of the standard deviation; with 0 it is the hardest item of the memory."""
    warmup: Steps = 50
    """Epochs until the standard deviation has its whole weight (T0)."""
    temperature: PositiveFloat = 10.0
    """Divisor of the scores by which items stay in the memory; a smaller value keeps harder items."""

    @model_validator(mode="after")
    def _extension_within_pool(self) -> Self:
        if self.extension > self.pool:
            raise ValueError(
                f"found extension {self.extension} of a pool of {self.pool}; lower extension or raise pool"
            )
        return self

    def build(self, inputs: SamplerInputs) -> SRNSSampler:
        """Return the sampler, with a memory and pools drawn from the candidate source."""
        return SRNSSampler(self, require_pairs(inputs, self.kind), seed=inputs.seed)


class SRNSSampler(nn.Module):
    """Chooses by the options of `SRNS`. Its state is in buffers, which a checkpoint keeps.

    memory_items: (users, memory). pool_items: (users, window + 1, pool); the pool of epoch t is number (t - 1) mod (window +
    1). memory_scores, pool_scores: with a last axis of `window`, scores at the beginning of recent epochs; that of epoch t
    is number (t - 1) mod window, NaN where the item was not followed. positive_scores: (pairs, window), of the positives.
    """

    hops_read: HopsRead = "none"
    n_candidates: int = 0
    """None: items come from the memory."""
    memory_items: Tensor
    memory_scores: Tensor
    pool_items: Tensor
    pool_scores: Tensor
    positive_scores: Tensor

    def __init__(self, options: SRNS, pairs: TrainingPairs, *, seed: int) -> None:
        super().__init__()
        self.options, self.pairs, self.seed = options, pairs, seed
        n, followed = pairs.train.n_users, options.memory + (options.window + 1) * options.pool
        require_memory(4 * options.window * (n * followed + len(pairs.items)), "the memory of srns")
        blocks = [self._draw("pools of srns", epoch, options.pool) for epoch in range(1, options.window + 2)]
        self.register_buffer("memory_items", self._draw("memory of srns", 0, options.memory))
        self.register_buffer("pool_items", torch.stack(blocks, dim=1))
        for name, shape in (
            ("memory_scores", self.memory_items.shape),
            ("pool_scores", self.pool_items.shape),
            ("positive_scores", (len(pairs.items),)),
        ):
            self.register_buffer(name, torch.full((*shape, options.window), torch.nan))

    def _draw(self, purpose: str, epoch: int, n: int) -> Tensor:
        return torch.from_numpy(self.pairs.draw_of_users(n, Stream(self.seed, purpose, epoch)))

    @torch.no_grad()
    def begin_epoch(self, epoch: int, embeddings: Embeddings) -> None:
        """Record the scores of all followed items and positives, and draw the pool of the epoch `window` epochs later."""
        window = self.options.window
        if epoch > 1:
            block = (epoch - 2) % (window + 1)
            self.pool_items[:, block] = self._draw("pools of srns", epoch + window, self.options.pool).to(
                self.pool_items.device
            )
            self.pool_scores[:, block] = torch.nan
        slot, users, items = (epoch - 1) % window, embeddings.final_users, embeddings.final_items
        self.memory_scores[..., slot] = score_all(users, items, self.memory_items)
        pools = score_all(users, items, self.pool_items.flatten(1))
        self.pool_scores[..., slot] = pools.view(self.pool_items.shape)
        owners, positives = (torch.from_numpy(side).to(users.device) for side in (self.pairs.users, self.pairs.items))
        for part in block_slices(len(owners), 2**16):
            scores = score_all(users[owners[part]], items, positives[part].unsqueeze(1))
            self.positive_scores[part, slot] = scores[:, 0]

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:  # noqa: ARG002
        """Return the memories of the batch's users, and the items that join them."""
        users, _, places, _ = self._draw_extension(batch, stream)
        joining = self._pool(self.pool_items, users, batch.epoch).gather(1, places)
        return torch.cat([self.memory_items[users], joining], dim=1)

    @torch.no_grad()
    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1) of the memories, and update these. The choice carries no gradient."""
        items, options = self.memory_items[batch.users], self.options
        users, table = gather_rows(embeddings.final_users, batch.users), embeddings.final_items
        positives = score_all(users, table, batch.positives.unsqueeze(1))
        preferences = torch.sigmoid(score_all(users, table, items) - positives)
        recent = torch.sigmoid(self.memory_scores[batch.users] - self.positive_scores[batch.rows].unsqueeze(1))
        alpha = options.alpha * min(1.0, batch.epoch / options.warmup)
        places = pick_by_rank(preferences + alpha * deviation(recent)).unsqueeze(1)
        self._update(batch, embeddings, stream)
        return Items(items.gather(1, places))

    def _update(self, batch: Batch, embeddings: Embeddings, stream: Stream) -> None:
        """Extend the memories of the batch's users, once each, and draw those that stay."""
        users, _, places, noise = self._draw_extension(batch, stream)
        pool_items, pool_scores = (
            self._pool(table, users, batch.epoch) for table in (self.pool_items, self.pool_scores)
        )
        items = torch.cat([self.memory_items[users], pool_items.gather(1, places)], dim=1)
        joining = pool_scores.gather(1, places.unsqueeze(2).expand(-1, -1, self.options.window))
        scores = torch.cat([self.memory_scores[users], joining], dim=1)
        now = score_all(gather_rows(embeddings.final_users, users), embeddings.final_items, items)
        keys = now / self.options.temperature + noise
        staying = keys.argsort(dim=1, descending=True, stable=True)[:, : self.options.memory]
        self.memory_items[users] = items.gather(1, staying)
        self.memory_scores[users] = scores.gather(1, staying.unsqueeze(2).expand(-1, -1, self.options.window))

    def _pool(self, table: Tensor, users: Tensor, epoch: int) -> Tensor:
        """Return the rows of the users in the pool of an epoch."""
        return table[users, (epoch - 1) % (self.options.window + 1)]

    def _draw_extension(self, batch: Batch, stream: Stream) -> tuple[Tensor, Indices, Tensor, Tensor]:
        """Return the distinct users, their first pairs, distinct places (users, extension) of the pool, and Gumbel noise."""
        users, first = np.unique(batch.users.cpu().numpy(), return_index=True)
        rows, options = batch.rows.cpu().numpy()[first], self.options
        own = replace(stream, purpose=f"{stream.purpose}, memory")
        units = own.uniform(rows, options.pool + options.memory + options.extension)
        places = np.argsort(units[:, : options.pool], axis=1, kind="stable")[:, : options.extension]
        noise = gumbel_noise(units[:, options.pool :]).float()
        device = batch.users.device
        return torch.from_numpy(users).to(device), rows, torch.from_numpy(places.copy()).to(device), noise.to(device)


def deviation(values: Tensor) -> Tensor:
    """Return the standard deviation over the last axis of the values that are not NaN; 0 for fewer than two of them."""
    known = ~values.isnan()
    count = known.sum(dim=-1)
    values = torch.where(known, values, 0.0)
    mean = values.sum(dim=-1) / count.clamp(min=1)
    squares = torch.where(known, values - mean.unsqueeze(-1), 0.0).square().sum(dim=-1)
    return torch.where(count >= 2, (squares / count.clamp(min=1)).sqrt(), 0.0)
