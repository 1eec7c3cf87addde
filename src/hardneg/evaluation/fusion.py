"""Late fusion, the rival that trains nothing: a finished model's score plus g times the cosine of profile and item text.

Exactly an inner product: u.v + g cos(p, t) = [u, g p] . [v, t] for p and t of unit length, so it is ranked like any model.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation.ranking import evaluate_scores, inner_product
from hardneg.types import Embeddings, Floats

FUSION_WEIGHTS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""The grid that g is chosen from."""


def fuse_scores(embeddings: Embeddings, profiles: Floats, texts: Floats, weight: float) -> Embeddings:
    """Embeddings whose inner product is the model's score plus weight x cos(profile, text).

    profiles: (n_users, text size), texts: (n_items, text size), unit length or NaN where there is no text, which adds
    0 to a score. weight: 0 or more; with 0 the embeddings come back as they are.
    """
    if not 0 <= weight < np.inf:
        raise ConfigError(
            f"found weight {weight:g}, expected a number of 0 or more; use `text_embeddings` to rank by text alone"
        )
    if weight == 0:
        return embeddings
    users, items = embeddings.final_users.detach(), embeddings.final_items.detach()
    more_users, more_items = (_tensor(of, like) for of, like in ((profiles, users), (texts, items)))
    if (len(more_users), len(more_items)) != (len(users), len(items)):
        raise DataError(
            f"found {len(more_users)} profiles and {len(more_items)} item texts, expected {len(users)} and {len(items)} "
            "as the model has users and items; make the profiles from the run's split"
        )
    return _pooled(torch.cat([users, weight * more_users], dim=1), torch.cat([items, more_items], dim=1))


def text_embeddings(profiles: Floats, texts: Floats) -> Embeddings:
    """Embeddings whose inner product is cos(profile, text), 0 where either is missing: fusion with g without bound."""
    like = torch.zeros(0, dtype=torch.float32)
    return _pooled(_tensor(profiles, like), _tensor(texts, like))


def center_rows(vectors: Floats) -> Floats:
    """Unit vectors (n, size) less their mean and of unit length again; NaN stays. A common direction says nothing."""
    if np.isnan(vectors).all():
        return vectors
    apart = vectors - np.nanmean(vectors, axis=0, keepdims=True)
    norms = np.linalg.norm(apart, axis=1, keepdims=True)
    return np.asarray(np.divide(apart, norms, out=np.zeros_like(apart), where=norms > 0) + 0 * norms)


def mean_of_items(train: Interactions, texts: Floats) -> Floats:
    """A profile without words: the mean of the vectors of a user's train items, of unit length; NaN where none has a text.

    texts: (n_items, size), NaN where there is no text. Returns (n_users, size) float32.
    """
    summed = np.asarray(train.matrix() @ np.nan_to_num(texts), np.float32)
    norms = np.linalg.norm(summed, axis=1, keepdims=True)
    return np.asarray(np.divide(summed, norms, out=np.full_like(summed, np.nan), where=norms > 0))


def validation_values(
    embeddings: Embeddings,
    profiles: Floats,
    texts: Floats,
    held_out: Interactions,
    seen: Interactions,
    *,
    metric: str = "recall@20",
    weights: Iterable[float] = FUSION_WEIGHTS,
) -> dict[float, float]:
    """The metric on held-out pairs (validation, never test) under each weight."""
    return {
        weight: validation_value(fuse_scores(embeddings, profiles, texts, weight), held_out, seen, metric)
        for weight in weights
    }


def validation_value(embeddings: Embeddings, held_out: Interactions, seen: Interactions, metric: str) -> float:
    """The metric on held-out pairs, mean over users."""
    return evaluate_scores(inner_product(embeddings), held_out, seen, metrics=(metric,)).means()[metric]


def best_weight(values: dict[float, float]) -> float:
    """The weight of the largest value, of equals the smallest weight."""
    return max(sorted(values), key=values.__getitem__)


def _tensor(vectors: Floats, like: Tensor) -> Tensor:
    return torch.from_numpy(np.nan_to_num(vectors)).to(like)


def _pooled(users: Tensor, items: Tensor) -> Embeddings:
    return Embeddings((users,), (items,), "mean")
