"""The contract of candidate sources; uniform draws are uniform."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling import UniformCandidates, sampler
from hardneg.sampling.kernels import _free_item

STREAM = Stream(3, "draw", 1)


class CandidateContract:
    """Contract of every source; a subclass defines how to build one."""

    make = UniformCandidates

    def test_one_row_per_user_and_nothing_seen(self, seen: Interactions) -> None:
        users = np.array([0, 0, 2, 5, 4])
        items = self.make(seen).draw(np.arange(5), users, n=40, stream=STREAM)
        assert items.shape == (5, 40)
        assert items.min() >= 0
        assert items.max() < seen.n_items
        assert not seen.contains(users[:, None], items).any()

    def test_same_numbers_same_items(self, seen: Interactions) -> None:
        draw = [self.make(seen).draw(np.arange(6), np.arange(6), n=9, stream=STREAM) for _ in range(2)]
        assert (draw[0] == draw[1]).all()

    def test_draws_of_a_pair_do_not_depend_on_the_batch(self, seen: Interactions) -> None:
        """Batches, threads, processes and interruptions change nothing."""
        rows, users = np.arange(60), np.arange(60) % 6
        whole = self.make(seen).draw(rows, users, n=5, stream=STREAM)
        order = np.random.default_rng(1).permutation(60)
        parts = [self.make(seen).draw(rows[p], users[p], n=5, stream=STREAM) for p in np.array_split(order, 7)]
        assert (whole[order] == np.concatenate(parts)).all()
        assert (whole[:, :3] == self.make(seen).draw(rows, users, n=3, stream=STREAM)).all()

    @pytest.mark.parametrize("other", [Stream(4, "draw", 1), Stream(3, "drew", 1), Stream(3, "draw", 2)])
    def test_another_stream_draws_others(self, seen: Interactions, other: Stream) -> None:
        rows, users = np.arange(60), np.zeros(60, int)
        one, two = (self.make(seen).draw(rows, users, n=5, stream=stream) for stream in (STREAM, other))
        assert (one != two).mean() > 0.5

    def test_a_user_with_one_free_item_gets_it(self, seen: Interactions) -> None:
        assert (self.make(seen).draw(np.arange(50), np.full(50, 5), n=3, stream=STREAM) == 3).all()


class TestUniformCandidates(CandidateContract):
    def test_every_free_item_is_equally_likely(self, seen: Interactions) -> None:
        drawn = UniformCandidates(seen).draw(np.arange(4000), np.zeros(4000, int), n=5, stream=STREAM).ravel()
        free = np.setdiff1d(np.arange(12), seen.items_of(0))
        counts = np.bincount(drawn, minlength=12)[free]
        assert counts.sum() == 20_000
        assert stats.chisquare(counts).pvalue > 1e-4

    def test_the_exact_complement_is_uniform_too(self, seen: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sampler, "ROUNDS", 1)
        users = np.repeat([0, 1, 5], 6000)
        drawn = UniformCandidates(seen).draw(np.arange(len(users)), users, n=2, stream=STREAM)
        assert not seen.contains(users[:, None], drawn).any()
        for user in (0, 1):
            free = np.setdiff1d(np.arange(12), seen.items_of(user))
            counts = np.bincount(drawn[users == user].ravel(), minlength=12)[free]
            assert counts.sum() == 12_000
            assert stats.chisquare(counts).pvalue > 1e-4

    def test_a_user_with_every_item_is_refused(self) -> None:
        full = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 0]), n_users=2, n_items=2)
        with pytest.raises(DataError, match=r"1 user\(s\).* 2 items.*user 0"):
            UniformCandidates(full)

    @settings(max_examples=40, deadline=None)
    @given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 6)), min_size=1), st.integers(0, 99))
    def test_no_seen_item_for_any_history(self, pairs: set[tuple[int, int]], seed: int) -> None:
        kept = np.array(sorted((u, i) for u, i in pairs if i != u))  # everybody lacks an item
        if not len(kept):
            return
        seen = Interactions.of(kept[:, 0], kept[:, 1], n_users=5, n_items=7)
        drawn = UniformCandidates(seen).draw(np.arange(5), np.arange(5), n=20, stream=Stream(seed, "draw", 1))
        assert drawn.shape == (5, 20)
        assert not seen.contains(np.arange(5)[:, None], drawn).any()

    def test_a_long_history_uses_the_complement(self) -> None:
        """2,999 of 3,000 items taken: rejection alone would need thousands of draws."""
        taken = np.setdiff1d(np.arange(3000), [1234])
        seen = Interactions.of(np.zeros(2999, int), taken, n_users=1, n_items=3000)
        drawn = UniformCandidates(seen).draw(np.arange(200), np.zeros(200, int), n=4, stream=STREAM)
        assert (drawn == 1234).all()


@given(st.sets(st.integers(0, 30)))
def test_the_free_item_of_every_rank_equals_the_slow_count(taken: set[int]) -> None:
    free = [item for item in range(31) if item not in taken]
    ascending = np.array(sorted(taken), np.int64)
    assert [_free_item(ascending, 0, len(ascending), rank) for rank in range(len(free))] == free
