"""Similarity of titles to a history, against a loop."""

from __future__ import annotations

import numpy as np
from diagnostics.title_scores import score_by_titles

from hardneg.data import Interactions
from hardneg.judging import UserCandidates


def test_scores_equal_a_loop_over_users_and_candidates(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((20, 6))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[2, 5]] = np.nan
    users = np.repeat(np.arange(7), [1, 2, 3, 4, 1, 2, 3])
    items = np.concatenate([[5], [1, 2], [0, 3, 9], [6, 7, 8, 10], [11], [12, 13], [0, 1, 4]])
    train = Interactions.of(users, items, n_users=7, n_items=20)
    candidates = UserCandidates(np.arange(7), np.array([[14, 15, 2, -1]] * 7))
    nearest, mean = score_by_titles(vectors, train, candidates)
    for user in range(7):
        own = [vectors[item] for item in train.items_of(user) if not np.isnan(vectors[item, 0])]
        for place, item in enumerate(candidates.items[user].tolist()):
            if item < 0 or item == 2 or not own:
                assert np.isnan(nearest[user, place])
                assert np.isnan(mean[user, place])
                continue
            assert np.isclose(nearest[user, place], max(vector @ vectors[item] for vector in own))
            total = np.sum(own, axis=0)
            assert np.isclose(mean[user, place], total @ vectors[item] / np.linalg.norm(total))
