"""Judged candidates as lesser negatives: lookups, frequencies and weights against slow loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling import (
    AHNS,
    DNS,
    MixGCF,
    NegativeSampler,
    PairFactors,
    PenalizedCandidates,
    SamplerInputs,
    Uniform,
    UniformCandidates,
    WeighedSampler,
)
from hardneg.sampling.judged import WEIGHT
from hardneg.sampling.sampler import items_read
from hardneg.training.losses import bpr_of_rows
from hardneg.training.objective import objective
from hardneg.types import Batch, Embeddings, Items

from .test_candidates import STREAM, CandidateContract


def judged(seen: Interactions, strength: float = 1.0, scale: float = 1.0) -> PairFactors:
    """Probabilities of half of the unobserved pairs, in an order of their own; one is missing."""
    rng = np.random.default_rng(4)
    users, items = np.nonzero(seen.matrix().toarray() == 0)
    order = rng.permutation(len(users))[: len(users) // 2]
    probability = rng.random(len(order)) * scale
    probability[0] = np.nan
    return PairFactors.of(seen, users[order], items[order], probability, strength)


def constant(seen: Interactions, probability: float) -> PairFactors:
    """The same probability for every unobserved pair."""
    users, items = np.nonzero(seen.matrix().toarray() == 0)
    return PairFactors.of(seen, users, items, np.full(len(users), probability), 1.0)


class TestPenalizedCandidates(CandidateContract):
    @staticmethod
    def make(seen: Interactions) -> PenalizedCandidates:
        return PenalizedCandidates(UniformCandidates(seen), judged(seen))


def test_factors_are_powers_of_one_minus_p_and_looked_up_as_by_a_loop(seen: Interactions) -> None:
    users, items = np.array([2, 0, 0, 3]), np.array([5, 9, 1, 0])
    probability = np.array([0.25, 1.0, 0.0, np.nan])
    factors = PairFactors.of(seen, users, items, probability, 2.0)
    assert len(factors.pairs) == 2
    expected = {(2, 5): 0.75**2, (0, 9): 0.0}
    rows, columns = np.array([0, 2, 3, 2, 5]), np.tile(np.arange(-1, 12), (5, 1))
    found = factors.look_up(rows, columns)
    for row, user in enumerate(rows.tolist()):
        for column, item in enumerate(columns[row].tolist()):
            assert found[row, column] == pytest.approx(expected.get((user, item), 1.0))
    assert factors.excluded.keys.tolist() == [9]
    with pytest.raises(DataError, match="found 1 factors of 2 pairs"):
        PairFactors(factors.pairs, factors.values[:1])


def test_without_likely_candidates_the_draws_are_the_same(seen: Interactions) -> None:
    source = UniformCandidates(seen)
    plain = source.draw(np.arange(60), np.arange(60) % 6, n=7, stream=STREAM)
    found = PenalizedCandidates(source, constant(seen, 0.0)).draw(np.arange(60), np.arange(60) % 6, n=7, stream=STREAM)
    assert (plain == found).all()


@pytest.mark.parametrize("strength", [1.0, 0.5, 3.0])
def test_frequencies_are_proportional_to_the_factors(seen: Interactions, strength: float) -> None:
    factors = judged(seen, strength)
    users = np.repeat([0, 2], 20_000)
    items = PenalizedCandidates(UniformCandidates(seen), factors).draw(np.arange(len(users)), users, n=3, stream=STREAM)
    for user in (0, 2):
        free = np.setdiff1d(np.arange(12), seen.items_of(user))
        counts = np.bincount(items[users == user].ravel(), minlength=12)
        share = factors.look_up(np.array([user]), free[None, :])[0].astype(float)
        assert counts.sum() == counts[free].sum() == 60_000
        assert share.min() < 0.9
        assert stats.chisquare(counts[free], 60_000 * share / share.sum()).pvalue > 1e-4


def test_a_certain_candidate_is_not_drawn_and_redraws_are_bounded(seen: Interactions) -> None:
    free = np.setdiff1d(np.arange(12), seen.items_of(0))
    one = PairFactors.of(seen, np.zeros(2, int), free[:2], np.ones(2), 1.0)
    rows, users = np.arange(5000), np.zeros(5000, int)
    items = PenalizedCandidates(UniformCandidates(seen), one).draw(rows, users, n=2, stream=STREAM)
    assert not np.isin(items, free[:2]).any()
    everything = PenalizedCandidates(UniformCandidates(seen), constant(seen, 1.0))
    assert np.isin(everything.draw(rows, users, n=2, stream=STREAM), free).all()


def test_a_draw_equals_the_slow_loop(seen: Interactions) -> None:
    """Each place on its own: keep with the probability of the factor, else draw again."""
    factors, source = judged(seen), UniformCandidates(seen)
    rows, users = np.arange(30), np.arange(30) % 6
    found = PenalizedCandidates(source, factors).draw(rows, users, n=3, stream=STREAM)
    for row, user in zip(rows, users, strict=True):
        for place in range(3):
            stream, redraw = STREAM, 0
            while True:
                item = source.draw(rows[row : row + 1], np.array([user]), n=3, stream=stream)[0, place]
                factor = factors.look_up(np.array([user]), np.array([[item]]))[0, 0]
                kept = Stream(STREAM.seed, f"{STREAM.purpose}, kept {redraw}", STREAM.epoch)
                if redraw == 30 or kept.uniform(rows[row : row + 1], 3)[0, place] < factor:
                    break
                stream = Stream(STREAM.seed, f"{STREAM.purpose}, redraw {redraw}", STREAM.epoch)
                redraw += 1
            assert found[row, place] == item


def sample(sampler: NegativeSampler, seen: Interactions, batch: Batch, embeddings: Embeddings) -> object:
    items = UniformCandidates(seen).draw(
        batch.rows.numpy(), batch.users.numpy(), n=sampler.n_candidates, stream=Stream(0, "drawn", 1)
    )
    return sampler.sample(batch, embeddings, torch.from_numpy(items), Stream(2, "sampler", 1))


@pytest.mark.parametrize("config", [Uniform(), DNS(candidates=4), AHNS(candidates=4), MixGCF(candidates=4)])
def test_weights_are_the_smallest_factors_of_the_items(
    config: Uniform, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    factors = judged(seen)
    negatives = sample(WeighedSampler(config.build(SamplerInputs(8, None, 0)), factors), seen, batch, embeddings)
    sources = negatives.items.unsqueeze(2) if isinstance(negatives, Items) else negatives.sources
    for row, user in enumerate(batch.users.tolist()):
        expected = min(factors.look_up(np.array([user]), np.array([[item]]))[0, 0] for item in sources[row, 0].tolist())
        assert negatives.weights[row, 0] == expected
    total, count = negatives.totals[WEIGHT]
    assert total / count == pytest.approx(negatives.weights.mean().item())


@pytest.mark.parametrize("n", [1, 3])
def test_the_weighted_loss_and_its_gradients_equal_the_slow_loop(n: int) -> None:
    rng = np.random.default_rng(n)
    users, items = rng.normal(size=(6, 4)), rng.normal(size=(6, 1 + n, 4))
    weights = rng.random((6, n))
    weights[0], weights[1, 0], weights[2] = 0.0, 0.0, 1.0

    def slow(rows: np.ndarray) -> float:
        total = 0.0
        for b in range(6):
            scores, largest = [float(users[b] @ row) for row in rows[b]], max(weights[b])
            if largest > 0:
                shares = [weights[b, k] / largest * math.exp(scores[1 + k] - scores[0]) for k in range(n)]
                total += largest * math.log(1 + sum(shares))
        return total / 6

    table = torch.from_numpy(items).requires_grad_()
    loss = bpr_of_rows(torch.from_numpy(users), table, torch.from_numpy(weights))
    loss.backward()
    assert loss.item() == pytest.approx(slow(items), rel=1e-12)
    for index in np.ndindex(items.shape):
        step = np.zeros_like(items)
        step[index] = 1e-6
        slope = (slow(items + step) - slow(items - step)) / 2e-6
        assert table.grad[index].item() == pytest.approx(slope, abs=1e-8)
    if n > 1:
        assert (table.grad[1, 1] == 0).all()  # weight 0: no effect
    assert (table.grad[0] == 0).all()


def test_weights_of_1_are_the_plain_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.randn(9, 4, generator=generator), torch.randn(9, 3, 4, generator=generator)
    weighed = bpr_of_rows(users, items, torch.ones(9, 2))
    assert weighed.item() == pytest.approx(bpr_of_rows(users, items).item(), rel=1e-6)


def test_parameters_and_other_items_are_those_of_the_inner_sampler(
    seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    inner = nn.Linear(2, 2)
    assert [name for name, _ in WeighedSampler(inner, constant(seen, 0.5)).named_parameters()] == [
        "inner.weight",
        "inner.bias",
    ]
    sampler = WeighedSampler(Uniform(), constant(seen, 0.5))
    items = torch.zeros(len(batch.rows), 1, dtype=torch.int64)
    stream = Stream(2, "sampler", 1)
    assert torch.equal(items_read(sampler, batch, items, stream), items_read(Uniform(), batch, items, stream))
    negatives = sample(sampler, seen, batch, embeddings)
    plain = sample(Uniform(), seen, batch, embeddings)
    halved, whole = (objective(batch, embeddings, one, 0.0) for one in (negatives, plain))
    assert halved.item() == pytest.approx(whole.item() / 2, rel=1e-5)
