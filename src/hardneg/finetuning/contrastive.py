"""The contrastive loss of HNLMRec (Eq. 12), and gradients of batches that do not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, labels: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Return the mean over rows i of -log exp(s(q_i, l_i)) / (sum over j of exp(s(q_i, l_j)) + exp(s(q_i, p_i))).

    s: cosine / temperature. queries: (batch, size), outputs of the model. labels: (batch, size), MixGCF's hard
    negatives, each the positive of its own row and a negative of the others. positives: (batch, size), vectors of the
    positive items, each a negative of its own row. Source: Eq. 12 of HNLMRec, which leaves N- open; the positive item is
    what its README calls "Neg".
    """
    queries, labels, positives = (F.normalize(vectors, dim=1) for vectors in (queries, labels, positives))
    own = (queries * positives).sum(dim=1, keepdim=True)
    scores = torch.cat([queries @ labels.T, own], dim=1) / temperature
    return F.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


def information(loss: float, n_labels: int) -> float:
    """Return log(N + 1) - loss in nats, a lower bound of the mutual information with the labels (van den Oord 2018).

    n_labels: N + 1, the number of labels that a row is compared with, its own included. The positive item is not a drawn
    label and is not counted; it increases the loss, so the bound holds.
    """
    return math.log(n_labels) - loss


def cached_backward(
    forward: Callable[[int], Tensor], n_chunks: int, loss_of: Callable[[Tensor], Tensor], *, weight: float = 1.0
) -> float:
    """Add a batch's gradients to the parameters with the graph of one chunk in memory at a time; return the loss.

    forward: computes the vectors of chunk 0..n_chunks - 1, equal in every call (dropout is replayed). loss_of: the loss
    of all vectors in chunk order; its own parameters get gradients too. First all vectors are computed without a graph,
    then the gradients of the loss with respect to them, then each chunk again to propagate its part. The gradients equal
    those of the plain batch. Source: GradCache (Gao et al., 2021).
    """
    if n_chunks == 1:  # a second pass would save nothing
        loss = loss_of(forward(0))
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
    with torch.no_grad():
        chunks: Sequence[Tensor] = [forward(chunk) for chunk in range(n_chunks)]
    vectors = torch.cat(list(chunks)).requires_grad_()
    loss = loss_of(vectors)
    (loss * weight).backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    for chunk, gradient in enumerate(torch.split(vectors.grad, [len(part) for part in chunks])):
        forward(chunk).backward(gradient)  # type: ignore[no-untyped-call]
    return float(loss.detach())
