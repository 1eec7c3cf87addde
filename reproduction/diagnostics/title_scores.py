"""Similarity of candidates' titles to those of a history: baselines without a language model that generates."""

from __future__ import annotations

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.judging import UserCandidates
from hardneg.judging.judge import gather_histories
from hardneg.types import Floats, block_slices

BLOCK = 128


def score_by_titles(vectors: Floats, train: Interactions, candidates: UserCandidates) -> tuple[Floats, Floats]:
    """Return the cosine to the nearest title of the history, and to the mean of its titles, both (n, k).

    vectors: (n_items, size) of unit length, NaN without a title. NaN where the candidate or the whole history has no
    title, and for padding.
    """
    nearest, mean = (np.full(candidates.items.shape, np.nan) for _ in range(2))
    for block in block_slices(len(candidates), BLOCK):
        starts, history = gather_histories(train, candidates.users[block])
        items, own = candidates.items[block], vectors[history]
        others = np.where((items >= 0)[:, :, None], vectors[np.maximum(items, 0)], np.nan)
        cosines = np.einsum("hd,hkd->hk", own, others[np.repeat(np.arange(len(items)), np.diff(starts))])
        nearest[block] = np.fmax.reduceat(cosines, starts[:-1], axis=0)
        sums = np.add.reduceat(np.nan_to_num(own), starts[:-1], axis=0)
        with np.errstate(invalid="ignore"):
            mean[block] = np.einsum("ud,ukd->uk", sums / np.linalg.norm(sums, axis=1, keepdims=True), others)
    return nearest, mean
