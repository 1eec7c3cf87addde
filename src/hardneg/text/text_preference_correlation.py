"""Correlation between item texts and user preferences."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from hardneg.data.interactions import Interactions
from hardneg.random import generator
from hardneg.text.texts import tfidf
from hardneg.types import Floats

SAMPLED_PAIRS = 20_000
TIE = 1e-6
"""Cosines closer than this differ by rounding alone."""


def text_preference_correlation(pairs: Interactions, texts: list[str], *, seed: int = 0) -> float | None:
    """Return Pearson's r in [-1, 1] between text similarity and observed preference.

    Uses at most 20,000 observed pairs and as many unobserved ones, whose items are drawn by popularity to cancel its
    effect. The similarity of a pair is the cosine between the tf-idf vector of the item and the sum of those of the
    user's *other* items; the label is 1 for observed pairs and 0 for the rest. A definition of our own, without a
    language model. Returns None where it is undefined: no texts, equal texts, no user with two pairs, or no
    unobserved pair.
    """
    eligible = np.flatnonzero(pairs.counts[pairs.users] >= 2)
    if not any(texts) or not len(eligible):
        return None
    vectors, _, _ = tfidf(texts)
    rng = generator(seed, "text-taste correlation")
    sample = rng.choice(eligible, size=min(SAMPLED_PAIRS, len(eligible)), replace=False)
    users, positives = pairs.users[sample], pairs.items[sample]
    others = pairs.items[rng.integers(len(pairs), size=len(sample))]
    unseen = ~pairs.contains(users, others)
    profiles = pairs.matrix() @ vectors
    observed = _cosine(profiles[users] - vectors[positives], vectors[positives])
    unobserved = _cosine(profiles[users[unseen]], vectors[others[unseen]])
    labels = np.repeat([1.0, 0.0], [len(observed), len(unobserved)])
    cosines = np.concatenate([observed, unobserved])
    if np.ptp(cosines) < TIE or not len(unobserved):
        return None
    return float(np.corrcoef(cosines, labels)[0, 1])


def _cosine(a: csr_array, b: csr_array) -> Floats:
    products = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    norms = np.sqrt(np.asarray(a.multiply(a).sum(axis=1)).ravel() * np.asarray(b.multiply(b).sum(axis=1)).ravel())
    return np.asarray(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0))
