"""Identification, by suspects, of train items that were hidden from the judge (`data.noise`), user by user."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.judging.suspects import THRESHOLD, Suspects
from hardneg.types import Floats, Indices


@dataclass(frozen=True)
class Identification:
    """Hidden items among the candidates of a judge.

    users: those with candidates of both kinds. auc: (users,) share of their pairs of a hidden and another candidate in which
    the hidden one has the higher score, ties counted half. liked_hidden, liked_others: shares of hidden and of other
    candidates that the judge labels as liked.
    """

    users: Indices
    auc: Floats
    n_hidden: int
    liked_hidden: float
    liked_others: float


def measure_identification(judged: Suspects, hidden: Interactions) -> Identification:
    """Compare hidden items among labelled candidates with the other candidates of the same user."""
    labelled = ~np.isnan(judged.probability)
    users, items = judged.users[labelled], judged.items[labelled]
    scores = judged.probability if judged.score is None else judged.score
    is_hidden, liked = hidden.contains(users, items), judged.probability[labelled] >= THRESHOLD
    n_hidden = np.bincount(users, weights=is_hidden, minlength=hidden.n_users)
    n_others = np.bincount(users, weights=~is_hidden, minlength=hidden.n_users)
    rank_sums = np.bincount(
        users, weights=np.where(is_hidden, _mean_ranks(users, scores[labelled]), 0.0), minlength=hidden.n_users
    )
    own = np.flatnonzero((n_hidden > 0) & (n_others > 0))
    wins = rank_sums[own] - n_hidden[own] * (n_hidden[own] + 1) / 2
    shares = [float(liked[part].mean()) if part.any() else float("nan") for part in (is_hidden, ~is_hidden)]
    return Identification(own, wins / (n_hidden[own] * n_others[own]), int(is_hidden.sum()), *shares)


def _mean_ranks(users: Indices, scores: Floats) -> Floats:
    """Return the rank of each score among those of its user, from 1 for the lowest; equal scores share their mean rank."""
    order = np.lexsort((scores, users))
    starts = np.searchsorted(users[order], users[order])
    ranks = np.arange(len(order)) - starts + 1.0
    is_new = np.ones(len(order), bool)
    is_new[1:] = (users[order][1:] != users[order][:-1]) | (scores[order][1:] != scores[order][:-1])
    ties = np.cumsum(is_new) - 1
    means = np.bincount(ties, weights=ranks) / np.bincount(ties) if len(order) else ranks
    result = np.empty(len(order))
    result[order] = means[ties]
    return result
