"""Quality of suspects: precision, recall and accuracy of a judge of false negatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.judging.suspects import THRESHOLD, Suspects
from hardneg.types import Floats, block_slices

BLOCK = 1024
"""Users whose like-probabilities are in memory at once."""


@dataclass(frozen=True)
class Identification:
    """Quality of a judge's labels; where relevance is a probability, these are expectations.

    candidates: labelled pairs. suspects: candidates at or above the threshold. base_rate: mean relevance of the
    candidates, which is the precision of labelling all of them as suspects. precision: mean relevance of the suspects,
    None without suspects. recall: share of all relevant pairs that are suspects. recall_of_candidates: share of the
    relevant candidates that are suspects; it ignores pairs that were never candidates. Both recalls are None if
    nothing is relevant. accuracy: share of candidates with a correct label.
    """

    candidates: int
    suspects: int
    base_rate: float
    precision: float | None
    recall: float | None
    recall_of_candidates: float | None
    accuracy: float


def compare_with_pairs(judged: Suspects, positives: Interactions, *, threshold: float = THRESHOLD) -> Identification:
    """Compare suspects with pairs known to be relevant: hidden train pairs (`data.noise`) or held-out pairs.

    Other pairs count as irrelevant although some are not. Precision is therefore a lower bound; accuracy can err in
    both directions.
    """
    labelled = judged.where(judged.labelled)
    relevance = positives.contains(labelled.users, labelled.items).astype(float)
    return _identification(labelled, relevance, float(len(positives)), threshold)


def compare_with_truth(
    judged: Suspects, truth: Truth, train: Interactions, *, threshold: float = THRESHOLD
) -> Identification:
    """Compare suspects with the like-probabilities of simulated data, in the numbering of the split.

    The number of relevant pairs is the sum of the like-probabilities over all pairs that train lacks.
    """
    labelled = judged.where(judged.labelled)
    relevance = truth.like_probability(labelled.users, labelled.items)
    return _identification(labelled, relevance, _unobserved_relevance(truth, train), threshold)


def _identification(labelled: Suspects, relevance: Floats, total: float, threshold: float) -> Identification:
    if not len(labelled):
        raise DataError("found no labelled candidate, expected at least one; run the judge again")
    is_suspect = labelled.probability >= threshold
    n_suspects, identified, in_candidates = (
        int(is_suspect.sum()),
        float(relevance[is_suspect].sum()),
        float(relevance.sum()),
    )
    return Identification(
        candidates=len(labelled),
        suspects=n_suspects,
        base_rate=in_candidates / len(labelled),
        precision=identified / n_suspects if n_suspects else None,
        recall=identified / total if total else None,
        recall_of_candidates=identified / in_candidates if in_candidates else None,
        accuracy=float(np.where(is_suspect, relevance, 1 - relevance).mean()),
    )


def _unobserved_relevance(truth: Truth, train: Interactions) -> float:
    total, matrix = 0.0, train.matrix()
    for block in block_slices(train.n_users, BLOCK):
        users = np.arange(block.start, block.stop)
        total += float((truth.like_probabilities(users) * (matrix[users].toarray() == 0)).sum())
    return total
