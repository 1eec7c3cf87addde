"""Gradients of the single terms of HNLMRec's loss, with respect to the embedding tables and the projection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardneg.errors import DataError
from hardneg.models.propagation import to_dense
from hardneg.random import Stream
from hardneg.sampling.sampler import scores
from hardneg.sampling.semantic import SemanticSampler, alignment
from hardneg.training import bpr, l2
from hardneg.types import Batch, Embeddings, Vectors, gather_rows

BPR_POSITIVE, BPR_UNIFORM, BPR_HARD = "BPR, positive", "BPR, uniform part", "BPR, e_hard"
ALIGNMENT, L2 = "alignment", "L2"
BPR_TERMS = (BPR_POSITIVE, BPR_UNIFORM, BPR_HARD)
TERMS = (*BPR_TERMS, ALIGNMENT, L2)
BPR = "BPR in all"
"""Sum of the BPR terms: those of positives and uniform items largely cancel."""
PROJECTOR = "projector"

Gradients = dict[str, dict[str, Tensor]]
"""Term -> parameter group -> its gradient as one flat vector, zeros if the term does not depend on the group."""


@dataclass(frozen=True)
class LossGradients:
    """Means over batches.

    norms: term of TERMS or BPR -> parameter group -> Euclidean norm, term weights included. cosines: parameter group
    -> cosine in [-1, 1] of the gradients of BPR through e_hard and of the alignment; None if one of them is zero in
    every batch.
    """

    norms: dict[str, dict[str, float]]
    cosines: dict[str, float | None]


def compute_loss_gradients(
    model: nn.Module,
    sampler: SemanticSampler,
    batches: Sequence[tuple[Batch, Tensor]],
    stream: Stream,
    *,
    l2_weight: float,
) -> LossGradients:
    """Compute the gradient of every loss term at the current parameters, without changing them or any `.grad`.

    batches: each with its candidates (batch, sampler.n_candidates). stream: the sampler's random stream. l2_weight:
    weight of the training loop's L2 term. Parameter groups are the model's parameters by name ("users", "items") and
    "projector".
    """
    if not batches:
        raise DataError("found no batch, expected at least one")
    groups = {name: [parameter] for name, parameter in model.named_parameters()}
    groups[PROJECTOR] = list(sampler.parameters())
    per_batch = []
    for batch, candidates in batches:
        terms = loss_terms(sampler, batch, model(), candidates, stream, l2_weight=l2_weight)
        gradients = differentiate(terms, groups)
        gradients[BPR] = {
            group: sum((gradients[term][group] for term in BPR_TERMS), torch.zeros(())) for group in groups
        }
        per_batch.append(gradients)
    norms = {
        term: {group: _mean([float(gradients[term][group].norm()) for gradients in per_batch]) for group in groups}
        for term in per_batch[0]
    }
    return LossGradients(norms, {group: _mean_cosine(per_batch, group) for group in groups})


def loss_terms(
    sampler: SemanticSampler,
    batch: Batch,
    embeddings: Embeddings,
    candidates: Tensor,
    stream: Stream,
    *,
    l2_weight: float,
) -> dict[str, Tensor]:
    """Return one scalar per term of TERMS; their gradients sum to the gradient of the training objective.

    The gradient of BPR is a sum over scores of slope x gradient of the score. The score of a mixed negative (eq. 7) is
    (1 - alpha) u.e- + alpha u.e_hard, so each summand has its own scalar, with the slopes detached. Only the gradients
    of the BPR scalars are meaningful. embeddings: of all users and items. Raises DataError if the sampler returns
    plain items.
    """
    negatives = sampler.sample(batch, embeddings, candidates, stream)
    if not isinstance(negatives, Vectors):
        raise DataError("the sampler returned plain items (alpha 0, no alignment), expected vectors with e_hard")
    users, positives = (
        gather_rows(embeddings.final_users, batch.users),
        gather_rows(embeddings.final_items, batch.positives),
    )
    text = torch.from_numpy(sampler.mined.vectors_of(batch.rows.cpu().numpy())).to(users.device)
    present = ~text[:, 0].isnan()
    projected = sampler.project(text.nan_to_num(0.0))
    uniform = gather_rows(embeddings.final_items, negatives.sources[:, :, 0])
    share = sampler.options.text_share * present.unsqueeze(1)
    uniform_share = torch.ones_like(share) if sampler.options.centred else 1 - share
    positive_scores = (users * positives).sum(dim=1)
    slopes = _slopes(positive_scores, scores(users, negatives.vectors))
    hard_scores = scores(users, sampler.scale_projected(projected, uniform, present).expand_as(uniform))
    alignment_loss = alignment(users, positives, projected, present, sampler.options.temperature)
    return {
        BPR_POSITIVE: -(slopes.sum(dim=1) * positive_scores).sum(),
        BPR_UNIFORM: (slopes * uniform_share * scores(users, uniform)).sum(),
        BPR_HARD: (slopes * share * hard_scores).sum(),
        ALIGNMENT: sampler.options.alignment_weight * alignment_loss,
        L2: _l2_term(sampler, batch, embeddings, negatives, l2_weight),
    }


def differentiate(terms: Mapping[str, Tensor], groups: Mapping[str, Sequence[Tensor]]) -> Gradients:
    """Differentiate every term with respect to every parameter group, keeping the graph."""
    gradients: Gradients = {}
    for term, value in terms.items():
        gradients[term] = {}
        for group, parameters in groups.items():
            computed = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            filled = [
                torch.zeros_like(p) if g is None else to_dense(g) for p, g in zip(parameters, computed, strict=True)
            ]
            gradients[term][group] = torch.cat([gradient.flatten() for gradient in filled])
    return gradients


def _slopes(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Return the derivatives of BPR (batch, n) with respect to the negatives' scores.

    The derivative with respect to the positive's score is minus their sum.
    """
    leaf = negative_scores.detach().requires_grad_()
    (slopes,) = torch.autograd.grad(bpr(positive_scores.detach(), leaf), [leaf])
    return slopes


def _l2_term(
    sampler: SemanticSampler, batch: Batch, embeddings: Embeddings, negatives: Vectors, l2_weight: float
) -> Tensor:
    users, items = (
        gather_rows(embeddings.users[0], batch.users),
        gather_rows(embeddings.items[0], batch.positives.unsqueeze(1)),
    )
    loss = l2_weight * l2(users, items, negatives.ego)
    if sampler.options.trains_projector:
        norms = sampler.weight_1.square().sum() + sampler.weight_2.square().sum()
        loss = loss + sampler.options.projector_l2 / 2 * norms
    return loss


def _mean_cosine(per_batch: Sequence[Gradients], group: str) -> float | None:
    pairs = [(gradients[BPR_HARD][group], gradients[ALIGNMENT][group]) for gradients in per_batch]
    nonzero = [(a, b) for a, b in pairs if a.any() and b.any()]
    return _mean([float(torch.dot(a / a.norm(), b / b.norm())) for a, b in nonzero]) if nonzero else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
