"""Candidates are drawn outside training pairs and suspects."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hardneg.data import Interactions
from hardneg.random import Stream
from hardneg.sampling import UniformCandidates, exclude_suspects

PAIRS = st.sets(st.tuples(st.integers(0, 4), st.integers(0, 5)))


def of(pairs: set[tuple[int, int]]) -> Interactions:
    users, items = np.array(sorted(pairs), np.int64).reshape(-1, 2).T
    return Interactions.of(users, items, n_users=5, n_items=6)


@given(PAIRS, PAIRS)
def test_every_user_keeps_a_candidate(observed: set[tuple[int, int]], judged: set[tuple[int, int]]) -> None:
    train, suspects = of({(u, i) for u, i in observed if i < 5}), of(judged - observed)
    pairs, unrestricted = exclude_suspects(train, suspects)
    target = {(u, i) for u, i in observed if i < 5}
    unrestricted_users = 0
    for user in range(5):
        own = {(u, i) for u, i in target | (judged - observed) if u == user}
        unrestricted_users += len(own) == 6
        target |= own if len(own) < 6 else set()
    assert set(zip(pairs.users.tolist(), pairs.items.tolist(), strict=True)) == target
    assert unrestricted == unrestricted_users


def test_no_suspect_is_drawn(seen: Interactions) -> None:
    users, items = np.nonzero(np.ones((4, 12)))
    fresh = ~seen.contains(users, items) & (items % 3 > 0)
    suspects = Interactions.of(users[fresh], items[fresh], n_users=6, n_items=12)
    source = UniformCandidates(exclude_suspects(seen, suspects)[0])
    asked = np.repeat(np.arange(4), 50)
    drawn = source.draw(np.arange(200), asked, n=5, stream=Stream(0, "candidates", 1))
    assert not seen.contains(asked[:, None], drawn).any()
    assert not suspects.contains(asked[:, None], drawn).any()
