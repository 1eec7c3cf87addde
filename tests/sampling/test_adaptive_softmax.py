"""Adaptive softmax sampling: exact probabilities, by score and by rank, and its limits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from hardneg.random import Stream
from hardneg.sampling import DNS, AdaptiveSoftmax, SamplerInputs
from hardneg.types import Batch, Embeddings

STREAM, N = Stream(2, "sampler", 1), 30_000
SCORES = [0.5, -1.0, 2.0, 0.4]


def chosen(sampler: AdaptiveSoftmax) -> Tensor:
    """The choice among four items with known scores, for N pairs."""
    pairs = Batch(torch.arange(N), torch.zeros(N, dtype=torch.int64), torch.zeros(N, dtype=torch.int64), 1, 0)
    tables = Embeddings((torch.ones(1, 1),), (torch.tensor(SCORES).unsqueeze(1),), "mean")
    return sampler.build(SamplerInputs(1, None, 0)).sample(pairs, tables, torch.arange(4).expand(N, 4), STREAM).items


@pytest.mark.parametrize("temperature", [0.3, 1.0, 5.0])
@pytest.mark.parametrize("by", ["score", "rank"])
def test_candidates_have_the_probabilities_of_the_formula(temperature: float, by: str) -> None:
    sampler = AdaptiveSoftmax(candidates=4, temperature=temperature, by=by)
    counts = np.bincount(chosen(sampler)[:, 0].numpy(), minlength=4)
    values = [score if by == "score" else -sum(other > score for other in SCORES) for score in SCORES]
    weights = [np.exp(value / temperature) for value in values]
    expected = N * np.array(weights) / sum(weights)
    assert stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize("by", ["score", "rank"])
def test_near_temperature_0_it_is_dns_and_at_a_large_one_uniform(by: str) -> None:
    assert (chosen(AdaptiveSoftmax(candidates=4, temperature=1e-6, by=by)) == 2).all()
    counts = np.bincount(chosen(AdaptiveSoftmax(candidates=4, temperature=1e6, by=by))[:, 0].numpy(), minlength=4)
    assert stats.chisquare(counts).pvalue > 1e-4


def test_a_row_that_was_not_computed_is_chosen_and_shows_in_the_loss() -> None:
    tables = Embeddings((torch.ones(1, 1),), (torch.tensor([[1.0], [float("nan")], [2.0]]),), "mean")
    batch = Batch(*(torch.zeros(1, dtype=torch.int64) for _ in range(3)), 1, 0)
    for sampler in (AdaptiveSoftmax(candidates=3), AdaptiveSoftmax(candidates=3, by="rank"), DNS(candidates=3)):
        result = sampler.build(SamplerInputs(1, None, 0)).sample(batch, tables, torch.tensor([[0, 1, 2]]), STREAM)
        assert result.items.tolist() == [[1]]
