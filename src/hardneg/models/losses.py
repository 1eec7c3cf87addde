"""Losses: they take scores, never embeddings."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bpr(positive: Tensor, negatives: Tensor) -> Tensor:
    """Mean of log(1 + sum_k exp(negative_k - positive)); with one negative that is -log sigmoid(positive - negative).

    positive: (batch,) scores. negatives: (batch, n) scores. Sources: Rendle et al. (2009) for n = 1, the K-pair form
    of MixGCF's release (Huang et al., 2021) beyond; computed as softplus(logsumexp), which cannot overflow.
    """
    return F.softplus(torch.logsumexp(negatives - positive.unsqueeze(1), dim=1)).mean()


def l2(*tables: Tensor) -> Tensor:
    """Half the squared norm of the given hop-0 rows, per pair: (1 / 2 batch) sum ||e||^2.

    Each of shape (batch, ..., size). Hop 0 alone is regularised, as in MixGCF's and LightGCN's releases.
    """
    return torch.stack([table.square().sum() for table in tables]).sum() / (2 * len(tables[0]))
