"""Ranking losses: pure functions of scores or rows, and their options by name (`fit.loss`).

All are means over the pairs of a batch. `bpr` with several negatives is the K-negative softplus of MixGCF's release.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.autograd.function import once_differentiable

from hardneg.errors import ConfigError, DataError
from hardneg.models.kernels import bpr_rows
from hardneg.plugins import PluginConfig, Registry

LOSSES = Registry(
    "loss",
    "hardneg.losses",
    {
        "bpr": "hardneg.training.losses:BPR",
        "softmax": "hardneg.training.losses:SampledSoftmax",
        "bce": "hardneg.training.losses:BinaryCrossEntropy",
        "hinge": "hardneg.training.losses:Hinge",
        "info-nce": "hardneg.training.losses:InfoNCE",
        "direct-au": "hardneg.training.losses:DirectAU",
    },
)


class LossConfig(PluginConfig):
    """Options of a loss. A field of this type accepts every loss by its `kind`, `bpr` where that is left out."""

    registry: ClassVar[Registry] = LOSSES
    reads_negatives: ClassVar[bool] = True
    """False where the loss has no negatives; the sampler is then not called."""
    takes_weights: ClassVar[bool] = True
    """True where each negative has a term of its own, which a weight can multiply."""
    compares_pairs: ClassVar[bool] = False
    """True where the pairs of a batch are compared with each other: a pair then has no loss of its own to weigh."""

    @property
    def corrects_bias(self) -> bool:
        """True where the loss reads the probability with which every negative was drawn."""
        return False

    @classmethod
    def complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the default kind."""
        return {"kind": "bpr", **values}

    def require_inputs(self, weights: Tensor | None, log_q: Tensor | None) -> None:
        """Raise ConfigError where a batch has weights that the loss cannot use, or lacks probabilities that it reads."""
        if weights is not None and not self.takes_weights:
            raise ConfigError(
                f"loss {self.kind!r} has no term for each negative, found weights of negatives; choose another fit.loss, "
                "or another use of suspects"
            )
        if log_q is None and self.corrects_bias:
            raise ConfigError(
                f"loss {self.kind!r} with correct_bias found negatives without the probability of their draw; choose the "
                "sampler uniform, popularity or in-batch, or set fit.loss.correct_bias to false"
            )

    @abstractmethod
    def of_rows(self, users: Tensor, items: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:
        """Return the mean loss of pairs, a scalar.

        users: (batch, size) pooled. items: (batch, 1 + n, size), the positive first. weights: (batch, n) in [0, 1], None
        for 1. log_q: (batch, n), log of the probability of each negative's draw, if known. See `require_inputs`.
        """
        ...


class ScoredLoss(LossConfig):
    """A loss of the inner products of users and items alone.

    `of_rows` is `of_scores` of these; with several negatives that are items, training calls `of_scores` alone.
    """

    @abstractmethod
    def of_scores(self, positive: Tensor, negatives: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:
        """Return the mean loss of scores: positive (batch,), negatives (batch, n). The others are those of `of_rows`."""
        ...

    def of_rows(self, users: Tensor, items: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:
        """Return the loss of the inner products."""
        scores = _inner_products(users, items)
        return self.of_scores(scores[:, 0], scores[:, 1:], weights, log_q)


class BPR(ScoredLoss):
    """Bayesian personalized ranking (Rendle et al., 2009); with several negatives the K-negative softplus.

    joint: log(1 + sum_k exp(s_k - s_i)), the K-pair form of MixGCF's release (Huang et al., 2021), which exponentiates
    before it adds 1 and overflows; here it is softplus of a log-sum-exp. mean: the mean over k of -log sigmoid(s_i - s_k).
    """

    kind: Literal["bpr"] = "bpr"
    several: Literal["joint", "mean"] = "joint"
    """Loss of several negatives of a pair: the K-negative softplus (joint), or the mean of their BPR losses."""

    def of_rows(self, users: Tensor, items: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the loss of the inner products; the default has a compiled pass."""
        if self.several == "joint" or items.shape[1] <= 2:
            return bpr_of_rows(users, items, weights)
        return super().of_rows(users, items, weights, None)

    def of_scores(self, positive: Tensor, negatives: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return `bpr`, `weighted_bpr` or `mean_bpr`."""
        if self.several == "mean":
            return mean_bpr(positive, negatives, weights)
        return _joint_bpr(positive, negatives, weights)


class SampledSoftmax(ScoredLoss):
    """Sampled softmax: cross-entropy of the positive among itself and its negatives (Bengio & Senecal, 2008).

    With correct_bias, exp(s_k / t) is divided by n q_k, where q_k is the probability of the draw: in expectation the sum is
    that over all items outside the exclusion set. The positive is never a candidate, so its score has no correction. With
    temperature 1 and without correction it is the K-negative softplus.
    """

    kind: Literal["softmax"] = "softmax"
    temperature: PositiveFloat = 1.0
    """Divisor of the scores; a smaller value gives more weight to the highest scored negatives."""
    correct_bias: bool = False
    """Subtract log(n q) from the score of every negative; needs the sampler uniform, popularity or in-batch."""

    @property
    def corrects_bias(self) -> bool:
        """Return the option `correct_bias`."""
        return self.correct_bias

    def of_scores(self, positive: Tensor, negatives: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:
        """Return `sampled_softmax`."""
        log_q = log_q if self.correct_bias else None
        return sampled_softmax(positive, negatives, temperature=self.temperature, weights=weights, log_q=log_q)


class BinaryCrossEntropy(ScoredLoss):
    """Binary cross-entropy: positives have the label 1, negatives 0 (He et al., 2017), mean over 1 + n labels."""

    kind: Literal["bce"] = "bce"

    def of_scores(self, positive: Tensor, negatives: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return `binary_cross_entropy`."""
        return binary_cross_entropy(positive, negatives, weights)


class Hinge(ScoredLoss):
    """Hinge: max(0, margin - s_i + s_k), mean over the negatives k. The released code of HNLMRec has the margin 0.3."""

    kind: Literal["hinge"] = "hinge"
    margin: PositiveFloat = 1.0
    """Difference of scores from which a negative has no loss."""

    def of_scores(self, positive: Tensor, negatives: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return `hinge`."""
        return hinge(positive, negatives, margin=self.margin, weights=weights)


class InfoNCE(LossConfig):
    """InfoNCE of cosines with the vectors of the pair's own negatives, one by default (form of HNLMRec, eq. 9).

    -log[e^(c_i / t) / (e^(c_i / t) + sum_k e^(c_k / t))], c the cosine with the user: sampled softmax of unit vectors.
    """

    kind: Literal["info-nce"] = "info-nce"
    temperature: PositiveFloat = 0.2
    """Divisor of the cosines."""

    def of_rows(self, users: Tensor, items: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return `sampled_softmax` of the cosines."""
        cosines = _inner_products(F.normalize(users, dim=1), F.normalize(items, dim=2))
        return sampled_softmax(cosines[:, 0], cosines[:, 1:], temperature=self.temperature, weights=weights)


class DirectAU(LossConfig):
    """DirectAU (Wang et al., 2022): alignment of pairs and uniformity of the batch's users and items; no negatives.

    ||u - i||^2 + gamma / 2 (log mean e^(-2 ||u - u'||^2) + log mean e^(-2 ||i - i'||^2)) of unit vectors. The means are over
    all pairs of two rows of the batch, as in the release; a batch of one pair has no uniformity. Memory grows with the
    square of the batch size.
    """

    kind: Literal["direct-au"] = "direct-au"
    gamma: NonNegativeFloat = 1.0
    """Weight of the uniformity."""
    reads_negatives: ClassVar[bool] = False
    takes_weights: ClassVar[bool] = False
    compares_pairs: ClassVar[bool] = True

    def of_rows(self, users: Tensor, items: Tensor, weights: Tensor | None, log_q: Tensor | None) -> Tensor:  # noqa: ARG002
        """Return the loss of users and positives; further items are not read."""
        users, positives = F.normalize(users, dim=1), F.normalize(items[:, 0], dim=1)
        aligned = (users - positives).square().sum(dim=1).mean()
        return aligned + self.gamma / 2 * (uniformity(users) + uniformity(positives))


def _inner_products(users: Tensor, items: Tensor) -> Tensor:
    return (items * users.unsqueeze(1)).sum(dim=2)


def bpr(positive: Tensor, negatives: Tensor) -> Tensor:
    """Return the mean of log(1 + sum_k exp(negative_k - positive)); for one negative, -log sigmoid(positive - negative).

    positive: (batch,) scores. negatives: (batch, n) scores. Sources: Rendle et al. (2009) for n = 1, the K-pair form of
    MixGCF's release (Huang et al., 2021) for n > 1; computed as softplus(logsumexp), which cannot overflow.
    """
    return F.softplus(torch.logsumexp(negatives - positive.unsqueeze(1), dim=1)).mean()


def weighted_bpr(positive: Tensor, negatives: Tensor, weights: Tensor) -> Tensor:
    """Return `bpr` with weights (batch, n) in [0, 1] of the negatives: the mean of w log(1 + sum_k (w_k / w) exp(.)).

    w is the largest weight of a pair. One negative has its loss times its weight; a negative of weight 0 has no effect;
    equal weights are a weight of the pair; all weights 1 are `bpr`.
    """
    largest = weights.amax(dim=1)
    shares = torch.where(largest.unsqueeze(1) > 0, weights / largest.unsqueeze(1), 1.0)
    differences = negatives - positive.unsqueeze(1) + shares.log()
    return (largest * F.softplus(torch.logsumexp(differences, dim=1))).mean()


def _joint_bpr(positive: Tensor, negatives: Tensor, weights: Tensor | None) -> Tensor:
    return bpr(positive, negatives) if weights is None else weighted_bpr(positive, negatives, weights)


def mean_bpr(positive: Tensor, negatives: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over pairs and negatives of weight x -log sigmoid(positive - negative)."""
    losses = F.softplus(negatives - positive.unsqueeze(1))
    return (losses if weights is None else weights * losses).mean()


def sampled_softmax(
    positive: Tensor,
    negatives: Tensor,
    *,
    temperature: float,
    weights: Tensor | None = None,
    log_q: Tensor | None = None,
) -> Tensor:
    """Return the mean of -log[e^(s_i / t) / (e^(s_i / t) + sum_k e^(s_k / t) / (n q_k))]; without log_q, n q_k is 1.

    positive: (batch,). negatives, log_q: (batch, n). weights: as in `weighted_bpr`.
    """
    positive, negatives = positive / temperature, negatives / temperature
    if log_q is not None:
        negatives = negatives - log_q - math.log(negatives.shape[1])
    return _joint_bpr(positive, negatives, weights)


def binary_cross_entropy(positive: Tensor, negatives: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return the mean over pairs of (-log sigmoid(s_i) - sum_k w_k log(1 - sigmoid(s_k))) / (1 + n), w_k = 1 without weights."""
    losses = F.softplus(negatives)
    losses = losses if weights is None else weights * losses
    return (F.softplus(-positive) + losses.sum(dim=1)).mean() / (1 + negatives.shape[1])


def hinge(positive: Tensor, negatives: Tensor, *, margin: float, weights: Tensor | None = None) -> Tensor:
    """Return the mean over pairs and negatives of weight x max(0, margin - positive + negative)."""
    losses = F.relu(margin - positive.unsqueeze(1) + negatives)
    return (losses if weights is None else weights * losses).mean()


def uniformity(rows: Tensor) -> Tensor:
    """Return the log of the mean over pairs of two unit rows (batch, size) of e^(-2 ||x - y||^2); 0 for a single row."""
    n = len(rows)
    if n < 2:
        return rows.new_zeros(())
    squared = (2 - 2 * rows @ rows.T).clamp(min=0)
    exponents = (-2 * squared).masked_fill(torch.eye(n, dtype=torch.bool, device=rows.device), -torch.inf)
    return torch.logsumexp(exponents.flatten(), dim=0) - math.log(n * (n - 1))


def bpr_of_rows(users: Tensor, items: Tensor, weights: Tensor | None = None) -> Tensor:
    """Return `bpr` of inner products: users (batch, size), items (batch, 1 + n, size) with the positive first.

    weights: of the negatives, (batch, n), as in `weighted_bpr`; None for 1. On the CPU, without weights, one compiled pass
    computes scores, loss and gradients, which is faster than the calls of torch.
    """
    if len(users) != len(items):
        raise DataError(f"found {len(users)} users and {len(items)} rows of items, expected equal numbers")
    if weights is None and users.device.type == "cpu" and users.dtype == items.dtype == torch.float32:
        loss: Tensor = _BprOfRows.apply(users, items)  # type: ignore[no-untyped-call]
        return loss
    scores = _inner_products(users, items)
    return _joint_bpr(scores[:, 0], scores[:, 1:], weights)


class _BprOfRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: Tensor, items: Tensor) -> Tensor:
        tables = users.detach().contiguous().numpy(), items.detach().contiguous().numpy()
        gradients = [np.empty_like(table) for table in tables]
        total = bpr_rows(*tables, *gradients)
        ctx.gradients = [torch.from_numpy(gradient) for gradient in gradients]
        return torch.tensor(total / len(users), dtype=users.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        users, items = ctx.gradients
        share = gradient.item() / len(users)
        return users * share, items * share
