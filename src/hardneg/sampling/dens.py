"""Disentangled negative sampling (DENS; Lai et al., 2023)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from hardneg.compiled import in_chunks
from hardneg.config import PerRow, Steps
from hardneg.random import Stream
from hardneg.sampling.gate_kernels import choose_by_gates
from hardneg.sampling.gates import chosen_vectors, distinct_rows, gate_matrices, has_compiled_pass, require_one_size
from hardneg.sampling.mixgcf import queries
from hardneg.sampling.sampler import SamplerConfig, SamplerInputs, pick_by_rank
from hardneg.types import Batch, Embeddings, HopsRead, Vectors, gather_rows


class DENS(SamplerConfig):
    """DENS: gates divide items into relevant and irrelevant factors; the negative shares the irrelevant ones.

    g_p = sigmoid(W_i p + W_u u), p_r = g_p * p; g_n = sigmoid(W_n n + W_p p_r), n_r = g_n * n. Per hop the candidate with
    the largest u . [(1 - min(1, t / warmup)) n - n_r] in epoch t is taken, and its own embedding is the negative. An
    auxiliary loss trains the gates: weight / 4 times the BPR losses p_r > p_ir, n_ir > n_r, p_r > n_r and n_ir > p_ir of
    pooled embeddings, where p_ir = p - p_r. The choice has no gradient, so that without this loss the gates stay at random.
    The copy in the release of AHNS replaces the schedule by a constant; here it is that of DENS.
    """

    kind: Literal["dens"] = "dens"
    candidates: PerRow = 6
    """Number of candidates per pair, 6 in the release."""
    weight: NonNegativeFloat = 0.3
    """Weight of the auxiliary loss (gamma), .3 in the release; with 0 the gates are not trained."""
    warmup: Steps = 100
    """Epochs until the score of the whole candidate has no share in the choice, 100 in the release."""

    def build(self, inputs: SamplerInputs) -> DENSSampler:
        """Return the sampler, with gates of the size of the embeddings."""
        return DENSSampler(self, inputs.final_size, seed=inputs.seed)


class DENSSampler(nn.Module):
    """Chooses by the options of `DENS`. matrices: item, user, negative and positive, (size, size) each."""

    hops_read: HopsRead = "items"

    def __init__(self, options: DENS, size: int, *, seed: int) -> None:
        super().__init__()
        self.options = options
        names = ("item", "user", "negative", "positive")
        self.matrices = gate_matrices(names, size, seed=seed, purpose="the gates of dens")
        self.requires_grad_(options.weight > 0)

    @property
    def n_candidates(self) -> int:
        """Number of candidates, as configured."""
        return self.options.candidates

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:  # noqa: ARG002
        """Return vectors (batch, 1, final size) with gradients through the chosen rows, and the auxiliary loss."""
        require_one_size(embeddings, self.options.kind)
        with torch.no_grad():
            hops = zip(queries(batch, embeddings), embeddings.items, strict=True)
            chosen = [self._choose(batch, user, table, candidates) for user, table in hops]
        rows = [gather_rows(table, item) for table, item in zip(embeddings.items, chosen, strict=True)]
        negatives = chosen_vectors(embeddings, chosen, rows)
        if self.options.weight == 0:
            return negatives
        users = gather_rows(embeddings.final_users, batch.users)
        positives = gather_rows(embeddings.final_items, batch.positives)
        loss = self.auxiliary_loss(users, positives, negatives.vectors[:, 0])
        return replace(negatives, auxiliary=self.options.weight * loss)

    def relevant(self, users: Tensor, positives: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
        """Return p_r (batch, size) and n_r (batch, n, size) of positives (batch, size) and negatives (batch, n, size)."""
        gates, relevant = self.matrices, self.relevant_positives(users, positives)
        gate = torch.sigmoid(negatives @ gates["negative"] + (relevant @ gates["positive"]).unsqueeze(1))
        return relevant, gate * negatives

    def relevant_positives(self, users: Tensor, positives: Tensor) -> Tensor:
        """Return p_r (batch, size) of users and positives (batch, size)."""
        return torch.sigmoid(positives @ self.matrices["item"] + users @ self.matrices["user"]) * positives

    def _choose(self, batch: Batch, users: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
        """Return the chosen candidate of each pair in one hop, (batch,)."""
        share = 1 - min(1.0, batch.epoch / self.options.warmup)
        positives = F.embedding(batch.positives, table)
        if has_compiled_pass(users, table):
            columns = self.choose_compiled(users, positives, *distinct_rows(table, candidates), share)
        else:
            rows = F.embedding(candidates, table)
            _, relevant = self.relevant(users, positives, rows)
            columns = pick_by_rank(((share * rows - relevant) * users.unsqueeze(1)).sum(dim=2))
        return candidates.gather(1, columns.unsqueeze(1)).squeeze(1)

    def choose_compiled(self, users: Tensor, positives: Tensor, rows: Tensor, places: Tensor, share: float) -> Tensor:
        """Return the chosen columns (batch,) of candidates at places (batch, n) of rows (m, size)."""
        gates, relevant = self.matrices, self.relevant_positives(users, positives)
        tables = users.contiguous(), rows, rows @ gates["negative"], relevant @ gates["positive"]
        columns = np.empty(len(users), np.int64)
        arrays = [table.numpy() for table in tables]
        in_chunks(choose_by_gates, len(users), *arrays, places.numpy(), share, columns)
        return torch.from_numpy(columns)

    def auxiliary_loss(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
        """Return a quarter of the sum of the four BPR losses; all (batch, size)."""
        relevant, negative = self.relevant(users, positives, negatives.unsqueeze(1))
        parts = relevant, positives - relevant, negative[:, 0], negatives - negative[:, 0]
        p_r, p_ir, n_r, n_ir = ((users * part).sum(dim=1) for part in parts)
        worse = torch.stack([p_ir - p_r, n_r - n_ir, n_r - p_r, p_ir - n_ir])
        return F.softplus(worse).mean()
