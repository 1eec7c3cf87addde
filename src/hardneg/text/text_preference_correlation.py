"""How far texts tell of taste, in one number."""

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
    """How far the words of what a user chose predict what else the user chose: Pearson's r, in [-1, 1].

    Over as many observed as unobserved pairs (at most 20,000 of each; the unobserved item is drawn by popularity, so
    that popularity says nothing): the cosine between the item's tf-idf text and the summed texts of the user's
    *other* items, against 1 for observed and 0 for not. A definition of our own; words only, no language model. None
    where it is undefined: no texts or all alike, no user with two pairs, no unobserved pair.
    """
    eligible = np.flatnonzero(pairs.counts[pairs.users] >= 2)
    if not any(texts) or not len(eligible):
        return None
    vectors, _, _ = tfidf(texts)
    rng = generator(seed, "text-taste correlation")
    rows = rng.choice(eligible, size=min(SAMPLED_PAIRS, len(eligible)), replace=False)
    users, chosen = pairs.users[rows], pairs.items[rows]
    others = pairs.items[rng.integers(len(pairs), size=len(rows))]
    fresh = ~pairs.contains(users, others)
    profiles = pairs.matrix() @ vectors
    observed = _cosine(profiles[users] - vectors[chosen], vectors[chosen])
    unobserved = _cosine(profiles[users[fresh]], vectors[others[fresh]])
    labels = np.repeat([1.0, 0.0], [len(observed), len(unobserved)])
    cosines = np.concatenate([observed, unobserved])
    if np.ptp(cosines) < TIE or not len(unobserved):
        return None
    return float(np.corrcoef(cosines, labels)[0, 1])


def _cosine(a: csr_array, b: csr_array) -> Floats:
    products = np.asarray(a.multiply(b).sum(axis=1)).ravel()
    norms = np.sqrt(np.asarray(a.multiply(a).sum(axis=1)).ravel() * np.asarray(b.multiply(b).sum(axis=1)).ravel())
    return np.asarray(np.divide(products, norms, out=np.zeros_like(products), where=norms > 0))
