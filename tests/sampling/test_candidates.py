"""The contract of candidate sources; draws have the distributions that they report."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hardneg.config import parse_config
from hardneg.data import Interactions, Split
from hardneg.data.truth import Truth
from hardneg.errors import ConfigError, DataError
from hardneg.fitting import fit_backbone
from hardneg.models import MFModel
from hardneg.random import Stream
from hardneg.sampling import (
    DNS,
    InBatchCandidates,
    InBatchSampling,
    InBatchSource,
    PairFactors,
    PenalizedCandidates,
    PopularityCandidates,
    PopularitySampling,
    PopularitySource,
    SourceConfig,
    SourceInputs,
    Uniform,
    UniformCandidates,
    UniformSource,
    in_batch,
    popularity,
    sampler,
)
from hardneg.sampling.draws import _first_above, _free_item
from hardneg.sampling.in_batch import WITHOUT
from hardneg.sampling.sampler import ReportsProbabilities
from hardneg.sampling.sources import SOURCES
from hardneg.training import FitConfig, SampledSoftmax, fit_model
from hardneg.types import Floats, Indices

STREAM = Stream(3, "draw", 1)


class CandidateContract:
    """Contract of every source; a subclass defines its options."""

    source: SourceConfig = UniformSource()

    def make(self, seen: Interactions) -> ReportsProbabilities:
        return self.source.build(SourceInputs(seen, seen, np.tile(seen.items, 3)))

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


def slow_shares(weights: Floats, seen: Interactions, user: int) -> Floats:
    """Shares of all items in the weights of those that the user has not."""
    free = [0.0 if seen.contains(user, item) else float(weights[item]) for item in range(len(weights))]
    return np.array([weight / sum(free) for weight in free])


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


class TestPopularityCandidates(CandidateContract):
    source = PopularitySource(exponent=0.75)

    @pytest.mark.parametrize("rounds", [30, 1, 0])
    @pytest.mark.parametrize("exponent", [0.0, 0.75, 2.0])
    def test_shares_are_powers_of_the_train_counts(
        self, seen: Interactions, monkeypatch: pytest.MonkeyPatch, rounds: int, exponent: float
    ) -> None:
        """By rejection, and from the exact complement."""
        monkeypatch.setattr(popularity, "ROUNDS", rounds)
        source = PopularitySource(exponent=exponent).build(SourceInputs(seen, seen, seen.items))
        for user in (0, 1, 4):
            drawn = source.draw(np.arange(4000), np.full(4000, user), n=5, stream=STREAM).ravel()
            expected = slow_shares(seen.item_counts.astype(float) ** exponent, seen, user)
            counts, likely = np.bincount(drawn, minlength=12), expected > 0
            assert counts[~likely].sum() == 0
            assert stats.chisquare(counts[likely], expected[likely] * 20_000).pvalue > 1e-4

    def test_reported_probabilities_equal_the_slow_shares(self, seen: Interactions) -> None:
        users, items = np.arange(6), np.tile(np.arange(12), (6, 1))
        logs = self.make(seen).log_probabilities(users, items)
        for user in range(6):
            free = ~seen.contains(user, np.arange(12))
            expected = slow_shares(seen.item_counts**0.75, seen, user)
            np.testing.assert_allclose(np.exp(logs[user, free]), expected[free], rtol=1e-5)

    def test_a_user_without_a_popular_item_is_refused(self) -> None:
        seen = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 0]), n_users=2, n_items=4)
        with pytest.raises(DataError, match=r"1 user\(s\) with all 2 items .*user 0"):
            PopularityCandidates(seen, seen.item_counts.astype(float))
        assert (
            PopularityCandidates(seen, np.ones(4)).draw(np.arange(9), np.zeros(9, int), n=2, stream=STREAM).min() >= 2
        )


class TestInBatchCandidates(CandidateContract):
    source = InBatchSource()

    def test_draws_of_a_pair_do_not_depend_on_the_batch(self, seen: Interactions) -> None:
        """They do: a part of the batch draws the same only where it knows the whole batch."""
        rows, users = np.arange(len(seen)), seen.users
        source = self.make(seen).of_batch(rows)
        whole = source.draw(rows, users, n=5, stream=STREAM)
        order = np.random.default_rng(1).permutation(len(rows))
        parts = [source.draw(rows[p], users[p], n=5, stream=STREAM) for p in np.array_split(order, 7)]
        assert (whole[order] == np.concatenate(parts)).all()
        assert (whole[:, :3] == source.draw(rows, users, n=3, stream=STREAM)).all()

    @pytest.mark.parametrize("rounds", [30, 1])
    def test_every_other_positive_of_the_batch_is_equally_likely(
        self, seen: Interactions, monkeypatch: pytest.MonkeyPatch, rounds: int
    ) -> None:
        monkeypatch.setattr(in_batch, "ROUNDS", rounds)
        source, users = InBatchCandidates(seen, np.tile(seen.items, 300)), np.tile(seen.users, 300)
        drawn = source.draw(np.arange(len(users)), users, n=4, stream=STREAM)
        for user in (0, 1, 4):
            counts = np.bincount(drawn[users == user].ravel(), minlength=12)
            expected = slow_shares(seen.item_counts.astype(float), seen, user)
            likely = expected > 0
            assert counts[~likely].sum() == 0
            assert stats.chisquare(counts[likely], expected[likely] * counts.sum()).pvalue > 1e-4
            logs = source.log_probabilities(np.array([user]), np.flatnonzero(likely)[None])
            np.testing.assert_allclose(np.exp(logs[0]), expected[likely], rtol=1e-5)

    def test_a_batch_of_one_user_gets_counted_uniform_candidates(self, seen: Interactions) -> None:
        rows = np.flatnonzero(seen.users == 1)
        source = InBatchCandidates(seen, seen.items).of_batch(rows)
        drawn = source.draw(rows, seen.users[rows], n=3, stream=STREAM)
        assert (drawn == UniformCandidates(seen).draw(rows, seen.users[rows], n=3, stream=STREAM)).all()
        assert source.counters == {WITHOUT: len(rows)}
        assert source.of_batch(rows).counters == {}

    def test_an_extra_positive_is_no_candidate_of_its_own_pair(self, seen: Interactions) -> None:
        """It is not excluded, since it was not observed."""
        extra = int(np.setdiff1d(np.arange(12), seen.items_of(0))[0])
        source = InBatchCandidates(seen, np.append(seen.items, extra))
        rows = np.array([len(seen), 0, len(seen)])
        drawn = source.draw(rows, np.zeros(3, int), n=50, stream=STREAM)
        assert set(drawn[1].tolist()) == {extra}
        assert source.counters == {WITHOUT: 2}

    def test_penalized_redraws_come_from_the_whole_batch(self, seen: Interactions) -> None:
        rows = np.arange(len(seen))
        users, items = np.nonzero(seen.matrix().toarray() == 0)
        factors = PairFactors.of(seen, users, items, np.full(len(users), 0.5), 1.0)
        source = PenalizedCandidates(InBatchCandidates(seen, seen.items), factors).of_batch(rows)
        drawn = source.draw(rows, seen.users, n=6, stream=STREAM)
        part = source.draw(rows[:4], seen.users[:4], n=6, stream=STREAM)
        assert (drawn[:4] == part).all()
        assert source.counters == {WITHOUT: 0}


def test_every_named_source_has_a_contract_test() -> None:
    tested = {test.source.kind for test in CandidateContract.__subclasses__()}
    assert set(SOURCES.names) == tested
    assert all(SourceConfig.find_class(name).model_fields["kind"].default == name for name in SOURCES.names)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=9).filter(any), st.floats(0, 1, exclude_max=True))
def test_the_item_at_a_share_of_the_weights_equals_the_slow_sum(weights: list[int], unit: float) -> None:
    running, target, expected = 0.0, unit * sum(weights), -1
    for item, weight in enumerate(weights):
        running += weight
        if expected < 0 and running > target:
            expected = item
    last = max(np.flatnonzero(weights))
    assert _first_above(np.cumsum(weights).astype(float), last, target) == expected
    assert weights[_first_above(np.cumsum(weights).astype(float), last, float(sum(weights)))] > 0, (
        "rounded up to the end"
    )


def test_the_sampler_of_a_name_is_the_uniform_one_over_its_source(store: tuple[Split, Truth]) -> None:
    """And the default is not written, so that runs of versions without the field keep their keys."""
    split = store[0]

    def users_of(sampler: object, **fit: object) -> Floats:
        config = FitConfig(epochs=2, batch_size=256, **fit)
        model = MFModel(split.train, embedding_size=4)
        fitted = fit_backbone(model, split, sampler=sampler, config=config, validates=False)
        return fitted.embeddings.final_users.detach().numpy()

    corrected = SampledSoftmax(correct_bias=True)
    for named in (PopularitySampling(exponent=0.5, negatives=2), InBatchSampling(negatives=2)):
        given = named.own_source
        one, two = users_of(named, loss=corrected), users_of(Uniform(negatives=2), loss=corrected, candidates=given)
        assert (one == two).all()
        assert (one != users_of(Uniform(negatives=2), loss=corrected)).any()
        assert (users_of(DNS(), candidates=given) != users_of(DNS())).any()
        with pytest.raises(ConfigError, match=r"has its own; leave fit\.candidates out"):
            users_of(named, candidates=given)
    assert FitConfig().model_dump().keys() & {"candidates", "loss"} == set()
    parsed = parse_config(FitConfig, {"candidates": {"kind": "popularity", "exponent": 0.5}}, where="fit")
    assert parsed.candidates == PopularitySource(exponent=0.5)
    assert FitConfig.model_validate(parsed.model_dump()) == parsed
    assert Uniform().model_dump() == {"kind": "uniform"}
    assert "negatives" not in DNS().model_dump()


def test_pairs_without_a_candidate_in_the_batch_are_counted_in_a_run(store: tuple[Split, Truth]) -> None:
    split = store[0]
    model, config = MFModel(split.train, embedding_size=4), FitConfig(epochs=2, batch_size=1)
    train: Indices = np.arange(20)
    few = Interactions(split.train.users[train], split.train.items[train], split.train.n_users, split.train.n_items)
    source = InBatchSource().build(SourceInputs(few, few, few.items))
    fitted = fit_model(model, few, InBatchSampling(), source, config, validate=None)
    assert fitted.state.counters[WITHOUT] == 40
