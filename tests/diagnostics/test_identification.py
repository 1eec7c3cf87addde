"""Identification of hidden items against loops over the candidates of each user."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.data.interactions import Interactions
from hardneg.diagnostics.identification import measure_identification
from hardneg.judging.suspects import Suspects

N_USERS, N_ITEMS = 30, 20


def make(rng: np.random.Generator, *, scored: bool) -> tuple[Suspects, Interactions]:
    users, items = np.nonzero(rng.random((N_USERS, N_ITEMS)) < 0.4)
    order = np.lexsort((rng.random(len(users)), users))
    users, items = users[order], items[order]
    probability = rng.integers(0, 4, len(users)) / 4  # with ties
    probability[rng.random(len(users)) < 0.1] = np.nan
    chosen = rng.random(len(users)) < 0.3
    hidden = Interactions.of(users[chosen], items[chosen], n_users=N_USERS, n_items=N_ITEMS)
    return Suspects(users, items, probability, "made up", rng.random(len(users)) if scored else None), hidden


@pytest.mark.parametrize("scored", [False, True])
def test_it_equals_the_slow_loop(rng: np.random.Generator, scored: bool) -> None:
    judged, hidden = make(rng, scored=scored)
    result = measure_identification(judged, hidden)
    scores = judged.probability if judged.score is None else judged.score
    expected: dict[int, float] = {}
    liked: dict[bool, list[bool]] = {True: [], False: []}
    for user in range(N_USERS):
        kinds: dict[bool, list[float]] = {True: [], False: []}
        for row in np.flatnonzero((judged.users == user) & ~np.isnan(judged.probability)):
            kind = bool(hidden.contains(np.array([user]), judged.items[[row]])[0])
            kinds[kind].append(float(scores[row]))
            liked[kind].append(bool(judged.probability[row] >= 0.5))
        pairs = [(one > other) + 0.5 * (one == other) for one in kinds[True] for other in kinds[False]]
        if pairs:
            expected[user] = float(np.mean(pairs))
    assert result.users.tolist() == list(expected)
    np.testing.assert_allclose(result.auc, list(expected.values()))
    assert (result.liked_hidden, result.liked_others) == (np.mean(liked[True]), np.mean(liked[False]))
    assert result.n_hidden == len(liked[True])


def test_nothing_hidden_gives_no_user(rng: np.random.Generator) -> None:
    judged, _ = make(rng, scored=False)
    none = np.empty(0, np.int64)
    result = measure_identification(judged, Interactions.of(none, none, n_users=N_USERS, n_items=N_ITEMS))
    assert (len(result.users), result.n_hidden) == (0, 0)
    assert np.isnan(result.liked_hidden)
