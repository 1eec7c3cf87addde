"""Every candidate source keeps the contract; uniform is uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.random import Generator
from scipy import stats

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.negatives import UniformCandidates, candidates


class CandidateContract:
    """What every source promises; a subclass says only how to build one."""

    make = UniformCandidates

    def test_one_row_per_user_and_nothing_seen(self, seen: Interactions, rng: Generator) -> None:
        users = np.array([0, 0, 2, 5, 4])
        items = self.make(seen).draw(users, n=40, rng=rng)
        assert items.shape == (5, 40)
        assert items.min() >= 0
        assert items.max() < seen.n_items
        assert not seen.contains(users[:, None], items).any()

    def test_same_numbers_same_items(self, seen: Interactions) -> None:
        draw = [self.make(seen).draw(np.arange(6), n=9, rng=np.random.default_rng(1)) for _ in range(2)]
        assert (draw[0] == draw[1]).all()

    def test_a_user_with_one_free_item_gets_it(self, seen: Interactions, rng: Generator) -> None:
        assert (self.make(seen).draw(np.full(50, 5), n=3, rng=rng) == 3).all()


class TestUniformCandidates(CandidateContract):
    def test_every_free_item_is_equally_likely(self, seen: Interactions, rng: Generator) -> None:
        drawn = UniformCandidates(seen).draw(np.zeros(4000, int), n=5, rng=rng).ravel()
        free = np.setdiff1d(np.arange(12), seen.items_of(0))
        counts = np.bincount(drawn, minlength=12)[free]
        assert counts.sum() == 20_000
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_the_exact_complement_is_uniform_too(
        self, seen: Interactions, rng: Generator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(candidates, "ROUNDS", 0)
        users = np.repeat([0, 1, 5], 6000)
        drawn = UniformCandidates(seen).draw(users, n=2, rng=rng)
        assert not seen.contains(users[:, None], drawn).any()
        for user in (0, 1):
            free = np.setdiff1d(np.arange(12), seen.items_of(user))
            counts = np.bincount(drawn[users == user].ravel(), minlength=12)[free]
            assert counts.sum() == 12_000
            assert stats.chisquare(counts).pvalue > 1e-4

    def test_a_user_with_every_item_is_an_error_with_a_remedy(self) -> None:
        full = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 0]), n_users=2, n_items=2)
        with pytest.raises(DataError, match=r"1 user\(s\) have all 2 items \(first: user 0\).*drop them"):
            UniformCandidates(full)

    @settings(max_examples=40, deadline=None)
    @given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1), st.integers(0, 99))
    def test_nothing_seen_whatever_was_seen(self, pairs: set[tuple[int, int]], seed: int) -> None:
        kept = np.array(sorted((u, i) for u, i in pairs if i != u))  # everybody lacks an item
        if not len(kept):
            return
        seen = Interactions.of(kept[:, 0], kept[:, 1], n_users=5, n_items=7)
        drawn = UniformCandidates(seen).draw(np.arange(5), n=20, rng=np.random.default_rng(seed))
        assert drawn.shape == (5, 20)
        assert not seen.contains(np.arange(5)[:, None], drawn).any()
