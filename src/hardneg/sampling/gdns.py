"""Gain-tuning dynamic negative sampling (GDNS; Zhu et al., 2022): a reconstruction."""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from hardneg.compiled import in_chunks
from hardneg.config import PerRow, require_memory
from hardneg.random import Stream
from hardneg.sampling.kernels import mean_preferences
from hardneg.sampling.sampler import SamplerConfig, SamplerInputs, TrainingPairs, pick_by_rank, require_pairs
from hardneg.types import Batch, Embeddings, HopsRead, Items

LEAST = 1e-12
"""Lower bound of H as a divisor."""


class GDNS(SamplerConfig):
    """GDNS, a reconstruction: the candidate whose preference over the positives falls most, since false ones keep theirs.

    H^t(u, j) is the mean of sigmoid(s(u, j) - s(u, i)) over the user's train items i, at the beginning of epoch t. The gain
    G^t = decay G^(t-1) + (1 - decay) change, where the change is H^(t-1) / H^t, or H^(t-1) - H^t. Of `candidates` items of
    the user's pool, all equally likely, the one with the largest gain is taken. The paper was not available: the term of the
    change, the pool and all defaults are ours, and its group-wise optimizer is left out; pairs are trained as with every
    sampler. Before two epochs have measured an item its gain is neutral, so that the choice is uniform.
    """

    kind: Literal["gdns"] = "gdns"
    candidates: PerRow = 8
    """Candidates per pair, drawn from the pool; more of them give larger gains."""
    pool: PerRow = 32
    """Items per user whose H is followed."""
    renewed: PerRow = 4
    """Items of the pool that are replaced in every epoch, the oldest first."""
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Share of the earlier gain in the new one."""
    change: Literal["ratio", "difference"] = "ratio"
    """Change of H between epochs: the ratio of the earlier and the later one, or their difference."""

    @model_validator(mode="after")
    def _renewed_within_pool(self) -> Self:
        if self.renewed > self.pool:
            raise ValueError(
                f"found {self.renewed} renewed items of a pool of {self.pool}; lower renewed or raise pool"
            )
        return self

    def build(self, inputs: SamplerInputs) -> GDNSSampler:
        """Return the sampler, with a pool drawn from the candidate source."""
        return GDNSSampler(self, require_pairs(inputs, self.kind), seed=inputs.seed)


class GDNSSampler(nn.Module):
    """Chooses by the options of `GDNS`. Its state is in buffers, which a checkpoint keeps.

    items, preferences, gains: (users, pool). Preferences are H of the last epoch, NaN for items that none has measured.
    """

    hops_read: HopsRead = "none"
    n_candidates: int = 0
    """None: items come from the pool."""
    items: Tensor
    preferences: Tensor
    gains: Tensor

    def __init__(self, options: GDNS, pairs: TrainingPairs, *, seed: int) -> None:
        super().__init__()
        self.options, self.pairs, self.seed = options, pairs, seed
        self.neutral = 1.0 if options.change == "ratio" else 0.0
        require_memory(16 * pairs.train.n_users * options.pool, "the pool of gdns")
        items = torch.from_numpy(pairs.draw_of_users(options.pool, Stream(seed, "pool of gdns", 1)))
        self.register_buffer("items", items)
        self.register_buffer("preferences", torch.full(items.shape, torch.nan))
        self.register_buffer("gains", torch.full(items.shape, self.neutral))

    @torch.no_grad()
    def begin_epoch(self, epoch: int, embeddings: Embeddings) -> None:
        """Renew the oldest items, measure H of all, and update the gains."""
        if epoch > 1:
            self._renew(epoch)
        now = self._measure(embeddings).to(self.items.device)
        before = self.preferences
        change = before / now.clamp(min=LEAST) if self.options.change == "ratio" else before - now
        gains = self.options.decay * self.gains + (1 - self.options.decay) * change
        self.gains.copy_(torch.where(change.isnan(), self.gains, gains))
        self.preferences.copy_(now)

    def _renew(self, epoch: int) -> None:
        renewed = self.options.renewed
        drawn = self.pairs.draw_of_users(renewed, Stream(self.seed, "pool of gdns", epoch))
        places = torch.from_numpy(((epoch - 2) * renewed + np.arange(renewed)) % self.options.pool)
        self.items[:, places] = torch.from_numpy(drawn).to(self.items.device)
        self.preferences[:, places], self.gains[:, places] = torch.nan, self.neutral

    def _measure(self, embeddings: Embeddings) -> Tensor:
        """Return H (users, pool); NaN for users without train items."""
        train, items = self.pairs.train, self.items.cpu().numpy()
        tables = (t.detach().cpu().contiguous().numpy() for t in (embeddings.final_users, embeddings.final_items))
        out = np.empty(items.shape, np.float32)
        in_chunks(mean_preferences, train.n_users, *tables, train.starts, train.items, items, out)
        return torch.from_numpy(out)

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:  # noqa: ARG002
        """Return the chosen items, which the loss reads."""
        return self._choose(batch, stream)

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Items:  # noqa: ARG002
        """Return items (batch, 1); the first of equal gains wins. The choice carries no gradient."""
        return Items(self._choose(batch, stream))

    def _choose(self, batch: Batch, stream: Stream) -> Tensor:
        units = stream.uniform(batch.rows.cpu().numpy(), self.options.candidates).astype(np.float64)
        places = torch.from_numpy((units * self.options.pool).astype(np.int64)).to(batch.users.device)
        best = pick_by_rank(self.gains[batch.users].gather(1, places)).unsqueeze(1)
        return self.items[batch.users].gather(1, places.gather(1, best))
