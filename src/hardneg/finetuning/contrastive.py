"""The contrastive loss of HNLMRec (Eq. 12), and gradients of batches that do not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def info_nce(queries: Tensor, labels: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Mean over rows i of -log exp(s(q_i, l_i)) / (sum over j of exp(s(q_i, l_j)) + exp(s(q_i, p_i))).

    s is the cosine over the temperature. queries: (batch, size), what the model wrote. labels: (batch, size), MixGCF's
    hard negatives, each the positive of its own row and a negative of the others. positives: (batch, size), vectors of
    the positive items, each a negative of its own row. Source: Eq. 12 of HNLMRec, where N- is left open; the positive
    item is what its README calls "Neg".
    """
    queries, labels, positives = (F.normalize(vectors, dim=1) for vectors in (queries, labels, positives))
    own = (queries * positives).sum(dim=1, keepdim=True)
    scores = torch.cat([queries @ labels.T, own], dim=1) / temperature
    return F.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


def information(loss: float, n_labels: int) -> float:
    """log(N + 1) - loss in nats: a lower bound of the information that vectors carry about labels (van den Oord 2018).

    n_labels: N + 1, the labels that a row was compared with, its own among them. The positive item is no draw of a
    label and is not counted; it makes the loss larger, so the bound stays a bound.
    """
    return math.log(n_labels) - loss


def cached_backward(
    forward: Callable[[int], Tensor], n_chunks: int, loss_of: Callable[[Tensor], Tensor], *, weight: float = 1.0
) -> float:
    """Add the gradients of a batch's loss to the parameters, holding the graph of one chunk at a time; return the loss.

    forward: computes the vectors of chunk 0..n_chunks - 1, the same ones when it is called again (dropout replayed).
    loss_of: the loss of all vectors, in the order of the chunks; parameters in it get their gradients too. The vectors
    are first computed without graph, then the loss's gradients with respect to them, then each chunk again, to pass
    its part on. The gradients are those of the plain batch. Source: GradCache (Gao et al., 2021).
    """
    if n_chunks == 1:  # nothing to be saved by a second pass
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
