"""Late fusion, a training-free baseline: a model's score plus g times the cosine of user profile and item text.

The fused score is an inner product, u.v + g cos(p, t) = [u, g p] . [v, t] for unit vectors p and t, so it is ranked
like any model.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation.ranking import ScoreFunction, evaluate_scores
from hardneg.types import Embeddings, Floats

FUSION_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""Candidate values of g."""


def fuse_scores(embeddings: Embeddings, profiles: Floats, texts: Floats, weight: float) -> Embeddings:
    """Return embeddings whose inner product is the model's score plus weight x cos(profile, text).

    profiles: (n_users, text size), texts: (n_items, text size), unit vectors, or NaN without text, which adds 0 to a
    score. weight: 0 or more; 0 returns the embeddings unchanged.
    """
    if not 0 <= weight < np.inf:
        raise ConfigError(
            f"found weight {weight:g}, expected a number of 0 or more; use `text_embeddings` to rank by text alone"
        )
    if weight == 0:
        return embeddings
    users, items = embeddings.final_users.detach(), embeddings.final_items.detach()
    user_texts, item_texts = _to_tensor(profiles, users), _to_tensor(texts, items)
    if (len(user_texts), len(item_texts)) != (len(users), len(items)):
        raise DataError(
            f"found {len(user_texts)} profiles and {len(item_texts)} item texts, expected {len(users)} and {len(items)} "
            "as the model has users and items; write the profiles from the run's split"
        )
    fused_users, fused_items = torch.cat([users, weight * user_texts], dim=1), torch.cat([items, item_texts], dim=1)
    return Embeddings((fused_users,), (fused_items,), "mean")


def text_embeddings(profiles: Floats, texts: Floats) -> Embeddings:
    """Return embeddings whose inner product is cos(profile, text), 0 if either is missing: the limit of large g."""
    like = torch.zeros(0, dtype=torch.float32)
    return Embeddings((_to_tensor(profiles, like),), (_to_tensor(texts, like),), "mean")


def center_rows(vectors: Floats) -> Floats:
    """Subtract the mean from unit vectors (n, size), which removes their common direction, and normalise; NaN stays."""
    if np.isnan(vectors).all():
        return vectors
    centred = vectors - np.nanmean(vectors, axis=0, keepdims=True)
    norms = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(np.divide(centred, norms, out=np.zeros_like(centred), where=norms > 0) + 0 * norms)


def mean_of_items(train: Interactions, texts: Floats) -> Floats:
    """Return the normalised mean of the text vectors of each user's train items, NaN if none has a text.

    texts: (n_items, size), NaN without text. Returns (n_users, size) float32.
    """
    summed = np.asarray(train.matrix() @ np.nan_to_num(texts), np.float32)
    norms = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.asarray(np.divide(summed, norms, out=np.full_like(summed, np.nan), where=norms > 0))


def validation_value(score: ScoreFunction, held_out: Interactions, seen: Interactions, metric: str) -> float:
    """Return the metric on held-out pairs, averaged over users."""
    return evaluate_scores(score, held_out, seen, metrics=(metric,)).means()[metric]


def best_weight(values: dict[float, float]) -> float:
    """Return the weight with the largest value, the smallest of equals."""
    return max(sorted(values), key=values.__getitem__)


def _to_tensor(vectors: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(np.nan_to_num(vectors)).to(like)
