"""What each term of HNLMRec's loss does to the tables and to the projector: gradients taken apart. Feeds nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hardneg.errors import DataError
from hardneg.models import bpr, l2
from hardneg.models.propagation import dense
from hardneg.random import Stream
from hardneg.sampling.sampler import gather_rows, scores
from hardneg.sampling.semantic import SemanticSampler, alignment
from hardneg.types import Batch, Embeddings, Vectors

BPR_POSITIVE, BPR_UNIFORM, BPR_HARD = "BPR, positive", "BPR, uniform part", "BPR, e_hard"
ALIGNMENT, L2 = "alignment", "L2"
BPR_TERMS = (BPR_POSITIVE, BPR_UNIFORM, BPR_HARD)
TERMS = (*BPR_TERMS, ALIGNMENT, L2)
BPR = "BPR in all"
"""The three of BPR as one: positives and uniform items largely cancel in what all items have in common."""
PROJECTOR = "projector"

Gradients = dict[str, dict[str, Tensor]]
"""Term -> part of the parameters -> its gradient as one flat vector, zeros where the term does not reach the part."""


@dataclass(frozen=True)
class LossGradients:
    """Means over batches.

    norms: term of TERMS, or "BPR in all" -> part -> Euclidean norm, weights of the terms included. cosines: part -> cosine of the gradients of
    BPR through e_hard and of the alignment, in [-1, 1]; None where one of them is zero in every batch. Above 0 both ask the same of the part.
    """

    norms: dict[str, dict[str, float]]
    cosines: dict[str, float | None]


def loss_gradients(
    model: nn.Module,
    sampler: SemanticSampler,
    given: Sequence[tuple[Batch, Tensor]],
    stream: Stream,
    *,
    l2_weight: float,
) -> LossGradients:
    """Take the gradient of every term apart, at the parameters as they are; nothing is changed, no `.grad` written.

    given: batches, each with its candidates (batch, sampler.n_candidates). stream: as the sampler gets it. l2_weight:
    of the loop's L2 term. Parts are the model's parameters by name ("users", "items") and "projector".
    """
    if not given:
        raise DataError("found no batch; give one at least")
    parts = {name: [parameter] for name, parameter in model.named_parameters()}
    parts[PROJECTOR] = list(sampler.parameters())
    measured = []
    for batch, candidates in given:
        terms = loss_terms(sampler, batch, model(), candidates, stream, l2_weight=l2_weight)
        found = gradients_of(terms, parts)
        found[BPR] = {part: sum((found[term][part] for term in BPR_TERMS), torch.zeros(())) for part in parts}
        measured.append(found)
    norms = {
        term: {part: _mean([float(found[term][part].norm()) for found in measured]) for part in parts} for term in found
    }
    return LossGradients(norms, {part: _cosine(measured, part) for part in parts})


def loss_terms(
    sampler: SemanticSampler,
    batch: Batch,
    embeddings: Embeddings,
    candidates: Tensor,
    stream: Stream,
    *,
    l2_weight: float,
) -> dict[str, Tensor]:
    """Scalars, one a term of TERMS, whose gradients add up to that of the training objective.

    BPR is softplus of scores, and its gradient a sum over scores: slope x gradient of the score. A mixed negative's
    score (eq. 7) is (1 - alpha) u.e- + alpha u.e_hard, so each part gets its own scalar with the slopes held fixed.
    The BPR scalars' values mean nothing by themselves. embeddings: of all rows. Raises DataError where the sampler
    serves plain items.
    """
    served = sampler.sample(batch, embeddings, candidates, stream)
    if not isinstance(served, Vectors):
        raise DataError("the sampler serves plain items (alpha 0, no alignment), so there is no e_hard to take apart")
    users, positives = (
        gather_rows(embeddings.final_users, batch.users),
        gather_rows(embeddings.final_items, batch.positives),
    )
    text = torch.from_numpy(sampler.mined.vectors_of(batch.rows.cpu().numpy())).to(users.device)
    present = ~text[:, 0].isnan()
    projected = sampler.project(text.nan_to_num(0.0))
    uniform = gather_rows(embeddings.final_items, served.sources[:, :, 0])
    share = sampler.options.text_share * present.unsqueeze(1)
    kept = torch.ones_like(share) if sampler.options.centred else 1 - share
    of_positive = (users * positives).sum(dim=1)
    slopes = _slopes(of_positive, scores(users, served.vectors))
    of_hard = scores(users, sampler.as_served(projected, uniform, present).expand_as(uniform))
    aligned = alignment(users, positives, projected, present, sampler.options.temperature)
    return {
        BPR_POSITIVE: -(slopes.sum(dim=1) * of_positive).sum(),
        BPR_UNIFORM: (slopes * kept * scores(users, uniform)).sum(),
        BPR_HARD: (slopes * share * of_hard).sum(),
        ALIGNMENT: sampler.options.alignment_weight * aligned,
        L2: _squares(sampler, batch, embeddings, served, l2_weight),
    }


def gradients_of(terms: Mapping[str, Tensor], parts: Mapping[str, Sequence[Tensor]]) -> Gradients:
    """Differentiate every term by every part; the graph of the terms stays usable."""
    found: Gradients = {}
    for term, value in terms.items():
        found[term] = {}
        for part, tensors in parts.items():
            made = torch.autograd.grad(value, tensors, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(t) if g is None else dense(g) for t, g in zip(tensors, made, strict=True)]
            found[term][part] = torch.cat([g.flatten() for g in flat])
    return found


def _slopes(of_positive: Tensor, of_negatives: Tensor) -> Tensor:
    """(batch, n) of BPR by the negatives' scores; by the positive's score it is minus their sum."""
    leaf = of_negatives.detach().requires_grad_()
    (found,) = torch.autograd.grad(bpr(of_positive.detach(), leaf), [leaf])
    return found


def _squares(
    sampler: SemanticSampler, batch: Batch, embeddings: Embeddings, served: Vectors, l2_weight: float
) -> Tensor:
    users, items = (
        gather_rows(embeddings.users[0], batch.users),
        gather_rows(embeddings.items[0], batch.positives.unsqueeze(1)),
    )
    loss = l2_weight * l2(users, items, served.ego)
    if sampler.options.trains_projector:
        norms = sampler.weight_1.square().sum() + sampler.weight_2.square().sum()
        loss = loss + sampler.options.projector_l2 / 2 * norms
    return loss


def _cosine(measured: Sequence[Gradients], part: str) -> float | None:
    pairs = [(found[BPR_HARD][part], found[ALIGNMENT][part]) for found in measured]
    known = [(a, b) for a, b in pairs if a.any() and b.any()]
    return _mean([float(torch.dot(a / a.norm(), b / b.norm())) for a, b in known]) if known else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
