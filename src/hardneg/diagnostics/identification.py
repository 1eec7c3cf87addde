"""How well a judge finds false negatives: against true positives that were hidden, and against the truth of a simulated
store. Feeds nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.judging.suspects import THRESHOLD, Suspects
from hardneg.types import Floats, block_slices

BLOCK = 1024
"""Users whose like-probabilities are held at once."""


@dataclass(frozen=True)
class Identification:
    """What a judge's labels are worth; what is true may be a probability, and then these are expectations.

    candidates: pairs with a label. suspects: of them, those from the threshold on. base_rate: mean truth of the
    candidates, the precision and the accuracy of calling all of them liked. precision: mean truth of the suspects, None
    without any. recall: share of all there is to find that the suspects hold; recall_of_candidates: of what stands among
    the candidates, beyond which no judge can go. Both None where there is nothing to find. accuracy: share of the
    candidates that are labelled right.
    """

    candidates: int
    suspects: int
    base_rate: float
    precision: float | None
    recall: float | None
    recall_of_candidates: float | None
    accuracy: float


def against_pairs(judged: Suspects, positives: Interactions, *, threshold: float = THRESHOLD) -> Identification:
    """Against pairs that are known to be liked: hidden train pairs (`data.noise`), or held-out ones.

    What is not among them counts as not liked, though it may be: precision is a lower bound of the true one. Accuracy is
    not: it is too low by what was rightly called liked, and too high by what was wrongly not.
    """
    labelled = judged.where(judged.labelled)
    liked = positives.contains(labelled.users, labelled.items).astype(float)
    return _identification(labelled, liked, float(len(positives)), threshold)


def against_truth(
    judged: Suspects, truth: Truth, train: Interactions, *, threshold: float = THRESHOLD
) -> Identification:
    """Against the like-probabilities of a simulated store, in the numbering of the split.

    All there is to find: the sum of like-probabilities over all pairs that are not observed in train.
    """
    labelled = judged.where(judged.labelled)
    liked = truth.like_probability(labelled.users, labelled.items)
    return _identification(labelled, liked, _unobserved(truth, train), threshold)


def _identification(labelled: Suspects, liked: Floats, in_all: float, threshold: float) -> Identification:
    if not len(labelled):
        raise DataError("found no labelled candidate, so there is nothing to measure; judge again")
    called = labelled.probability >= threshold
    found, among = float(liked[called].sum()), float(liked.sum())
    return Identification(
        candidates=len(labelled),
        suspects=int(called.sum()),
        base_rate=among / len(labelled),
        precision=found / int(called.sum()) if called.any() else None,
        recall=found / in_all if in_all else None,
        recall_of_candidates=found / among if among else None,
        accuracy=float(np.where(called, liked, 1 - liked).mean()),
    )


def _unobserved(truth: Truth, train: Interactions) -> float:
    total, matrix = 0.0, train.matrix()
    for block in block_slices(train.n_users, BLOCK):
        users = np.arange(block.start, block.stop)
        total += float((truth.like_probabilities(users) * (matrix[users].toarray() == 0)).sum())
    return total
