"""Augmented negative sampling (ANS; Zhao et al., 2023)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hardneg.compiled import in_chunks
from hardneg.config import PerRow
from hardneg.random import Stream
from hardneg.sampling.gate_kernels import gate_sum_gradients, gate_sums
from hardneg.sampling.gates import chosen_vectors, distinct_rows, gate_matrices, has_compiled_pass, require_one_size
from hardneg.sampling.sampler import SamplerConfig, SamplerInputs, pick_by_rank
from hardneg.types import Batch, Embeddings, HopsRead, Vectors, gather_rows

NEAREST = 1e-2
"""Lower bound of the magnitude of x in the margin sigmoid(1 / x), which the release does not have: at 0 it is undefined."""
STRENGTH = 0.1
"""Factor of the noise in the release."""


class ANS(SamplerConfig):
    """ANS: a gate divides candidates into hard and easy factors; noise toward the positive is added to the easy ones.

    g = sigmoid(W_v n * W_u u), n_h = g * n, n_e = n - n_h; the same gate divides the positive. n' = n + .1 m sign(p_e - n_e)
    * r, with the margin m = sigmoid(1 / (w . (n_h * p_h) + b)) and r a random direction of positive entries, drawn once for
    pair and candidate and shared by all hops. Per hop the candidate with the largest s(n') + gain (s(n') - s(n)) is chosen,
    and n' is the negative. The auxiliary loss, the mean over hops, is weight times [log(1 + sum_m exp(u . n_e - u . n_h)) +
    mean ||n_h - p_h|| + mean ||p_e * n_e||]. The release ranks by embeddings that are not propagated; here the backbone
    ranks. Defaults are ours: none is confirmed.
    """

    kind: Literal["ans"] = "ans"
    candidates: PerRow = 8
    """Number of candidates per pair; more of them give harder negatives."""
    weight: NonNegativeFloat = 0.01
    """Weight of the auxiliary loss (gamma); a large one shrinks embeddings to 0: the gradient of a norm does not fall with it."""
    gain: NonNegativeFloat = 0.1
    """Weight of the score that the noise adds, in the choice (epsilon)."""
    without_noise: bool = False
    """Ablation: the negatives are the chosen candidates themselves; with weight 0 it is DNS per hop."""

    def build(self, inputs: SamplerInputs) -> ANSSampler:
        """Return the sampler, with a gate of the size of the embeddings."""
        return ANSSampler(self, inputs.final_size, seed=inputs.seed)


class ANSSampler(nn.Module):
    """Augments by the options of `ANS`. matrices: item and user, (size, size). margin: w and b, (size + 1,).

    b starts at 1, where the margin has a gradient; near x = 0 it is constant.
    """

    hops_read: HopsRead = "items"

    def __init__(self, options: ANS, size: int, *, seed: int) -> None:
        super().__init__()
        self.options = options
        self.matrices = gate_matrices(("item", "user"), size, seed=seed, purpose="the gate of ans")
        self.margin = nn.Parameter(torch.zeros(size + 1))
        with torch.no_grad():
            self.margin[-1] = 1.0
        self.matrices.requires_grad_(options.weight > 0 or not options.without_noise)
        self.margin.requires_grad_(not options.without_noise)

    @property
    def n_candidates(self) -> int:
        """Number of candidates, as configured."""
        return self.options.candidates

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Vectors:
        """Return vectors (batch, 1, final size), with gradients through the augmented rows, and the auxiliary loss."""
        require_one_size(embeddings, self.options.kind)
        users = gather_rows(embeddings.final_users, batch.users)
        directions = self.draw_directions(batch, users.shape[1], stream)
        chosen, rows, losses = [], [], []
        for table in embeddings.items:
            of_hop = self._augment_compiled if has_compiled_pass(users, table) else self._augment_by_torch
            columns, row, loss = of_hop(users, table, batch.positives, candidates, directions)
            chosen.append(candidates.gather(1, columns.unsqueeze(1)).squeeze(1))
            rows.append(row)
            losses.append(loss)
        result = chosen_vectors(embeddings, chosen, rows)
        if self.options.weight == 0:
            return result
        return replace(result, auxiliary=self.options.weight * torch.stack(losses).mean())

    def draw_directions(self, batch: Batch, size: int, stream: Stream) -> Tensor:
        """Draw unit vectors of positive entries, (batch, candidates, size)."""
        n = self.options.candidates
        units = torch.from_numpy(stream.uniform(batch.rows.cpu().numpy(), n * size)).to(batch.rows.device)
        return F.normalize(units.view(-1, n, size), dim=2)

    def augment(self, users: Tensor, positives: Tensor, negatives: Tensor, directions: Tensor) -> tuple[Tensor, Tensor]:
        """Return n' (batch, n, size) and the auxiliary loss. users, positives: (batch, size). negatives: (batch, n, size)."""
        users, positives = users.unsqueeze(1), positives.unsqueeze(1)
        gate = torch.sigmoid((negatives @ self.matrices["item"]) * (users @ self.matrices["user"]))
        hard, positive_hard = gate * negatives, gate * positives
        easy, positive_easy = negatives - hard, positives - positive_hard
        contrast = (users * (easy - hard)).sum(dim=2)
        loss = F.softplus(torch.logsumexp(contrast, dim=1)).mean() + (hard - positive_hard).norm(dim=2).mean()
        loss = loss + (positive_easy * easy).norm(dim=2).mean()
        if self.options.without_noise:
            return negatives, loss
        strength = _strength((hard * positive_hard) @ self.margin[:-1] + self.margin[-1]).unsqueeze(2)
        return negatives + strength * torch.sign(positive_easy - easy).detach() * directions, loss

    def _augment_by_torch(
        self, users: Tensor, table: Tensor, positives: Tensor, candidates: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the chosen columns (batch,), their augmented rows (batch, size), and the auxiliary loss of a hop."""
        negatives = gather_rows(table, candidates)
        augmented, loss = self.augment(users, gather_rows(table, positives), negatives, directions)
        with torch.no_grad():
            after, before = ((rows * users.unsqueeze(1)).sum(dim=2) for rows in (augmented, negatives))
            columns = pick_by_rank(after + self.options.gain * (after - before))
        index = columns.view(-1, 1, 1).expand(-1, -1, augmented.shape[2])
        return columns, augmented.gather(1, index).squeeze(1), loss

    def _augment_compiled(
        self, users: Tensor, table: Tensor, positives: Tensor, candidates: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what `_augment_by_torch` does, up to rounding; sums over dimensions are compiled."""
        rows, places = distinct_rows(table, candidates)
        own, gates = gather_rows(table, positives), self.matrices
        pairs, both = (
            torch.cat([users, own, users @ gates["user"]], dim=1),
            torch.cat([rows, rows @ gates["item"]], dim=1),
        )
        score, moved, sums = _GateSums.apply(pairs, both, self.margin[:-1], places, directions)  # type: ignore[no-untyped-call]
        contrast, near, apart, x = sums.unbind(2)
        loss = F.softplus(torch.logsumexp(contrast, dim=1)).mean() + (_root(near) + _root(apart)).mean()
        if self.options.without_noise:
            columns = pick_by_rank(score)
            return columns, rows[places.gather(1, columns.unsqueeze(1)).squeeze(1)], loss
        strength = _strength(x + self.margin[-1])
        columns = pick_by_rank(score + (1 + self.options.gain) * strength.detach() * moved)
        each = torch.arange(len(columns))
        chosen = both[places[each, columns]]
        negatives = chosen[:, : users.shape[1]]
        toward = torch.sign(own - negatives).detach() * directions[each, columns]
        return columns, negatives + strength[each, columns].unsqueeze(1) * toward, loss


def _strength(x: Tensor) -> Tensor:
    """Return the factor of the noise for the x of the margin."""
    bounded = torch.where(x < 0, x.clamp(max=-NEAREST), x.clamp(min=NEAREST))
    return STRENGTH * torch.sigmoid(1 / bounded)


def _root(squares: Tensor) -> Tensor:
    """Return square roots, with the gradient 0 at 0."""
    is_zero = squares == 0
    return torch.where(is_zero, 1.0, squares).sqrt() * ~is_zero


class _GateSums(torch.autograd.Function):
    """`gate_kernels.gate_sums`: score and moved (batch, n), which have no gradient, and the other four, (batch, n, 4)."""

    @staticmethod
    def forward(
        ctx: Any, pairs: Tensor, rows: Tensor, margin: Tensor, places: Tensor, directions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        inputs = [tensor.detach().contiguous() for tensor in (pairs, rows, places, margin)]
        arrays = [tensor.numpy() for tensor in inputs]
        sums = np.empty((*places.shape, 6), np.float32)
        in_chunks(gate_sums, len(pairs), *arrays[:3], directions.contiguous().numpy(), arrays[3], sums)
        ctx.save_for_backward(*inputs)
        found = torch.from_numpy(sums)
        score, moved = found[:, :, 0].clone(), found[:, :, 5].clone()
        ctx.mark_non_differentiable(score, moved)
        return score, moved, found[:, :, 1:5].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: Any, __: Any, arriving: Tensor) -> tuple[Tensor | None, ...]:
        pairs, rows, places, margin = ctx.saved_tensors
        gradients = [torch.zeros_like(tensor) for tensor in (pairs, rows, margin)]
        arrays = (tensor.numpy() for tensor in (pairs, rows, places, margin, arriving.contiguous(), *gradients))
        gate_sum_gradients(*arrays)
        return *gradients, None, None
