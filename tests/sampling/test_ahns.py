"""AHNS against a slow loop, and at the edges of its formula."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from hardneg.data import Interactions
from hardneg.random import Stream
from hardneg.sampling import AHNS, SamplerInputs, UniformCandidates
from hardneg.types import Batch, Embeddings, Items

STREAM = Stream(2, "sampler", 1)
NOTHING = SamplerInputs(8, None, 0)


def chosen(options: AHNS, batch: Batch, embeddings: Embeddings, candidates: Tensor) -> Tensor:
    result = options.build(NOTHING).sample(batch, embeddings, candidates, STREAM)
    assert isinstance(result, Items)
    return result.items


def of_scores(positive: float, *negatives: float) -> tuple[Batch, Embeddings, Tensor]:
    """A pair whose positive, item 0, and candidates 1.. have these scores."""
    pair = Batch(*(torch.zeros(1, dtype=torch.int64) for _ in range(3)), epoch=1, step=0)
    items = torch.tensor([[positive], *([score] for score in negatives)])
    return pair, Embeddings((torch.ones(1, 1),), (items,), "mean"), torch.arange(1, len(items)).unsqueeze(0)


@pytest.mark.parametrize(("alpha", "beta", "p"), [(1.0, 0.1, -2.0), (0.5, 0.4, -1.5), (0.1, 2.0, 0.5)])
def test_it_equals_the_slow_loop(
    seen: Interactions, batch: Batch, embeddings: Embeddings, alpha: float, beta: float, p: float
) -> None:
    where = batch.rows.numpy(), batch.users.numpy()
    candidates = torch.from_numpy(UniformCandidates(seen).draw(*where, n=6, stream=Stream(0, "drawn", 1)))
    result = chosen(AHNS(candidates=6, alpha=alpha, beta=beta, p=p), batch, embeddings, candidates)
    users, items = (table.detach().double().numpy() for table in (embeddings.final_users, embeddings.final_items))
    for row, (user, positive) in enumerate(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)):
        near = max(users[user] @ items[positive] + alpha, 1e-6)
        target = beta * near ** (p + 1)
        best = min(candidates[row].tolist(), key=lambda item: abs(users[user] @ items[item] - target))
        assert result[row].item() == best


def test_a_higher_positive_gets_an_easier_negative() -> None:
    negatives = [0.05, 0.1, 0.2, 0.5]
    scores = [
        negatives[int(chosen(AHNS(alpha=0.0, beta=0.1), *of_scores(positive, *negatives))) - 1]
        for positive in (0.2, 0.5, 1.0, 2.0)
    ]
    assert scores == [0.5, 0.2, 0.1, 0.05]


@pytest.mark.parametrize("positive", [-1.0, -1.5, -1.0 + 1e-7])
def test_a_positive_below_minus_alpha_gets_the_largest_score(positive: float) -> None:
    """Scores that differ by little stay distinct beside a target of 100,000."""
    assert chosen(AHNS(), *of_scores(positive, 0.1, 0.30000001, 0.3, 0.30000004)).item() == 4


def test_the_first_of_equally_near_scores_wins() -> None:
    assert chosen(AHNS(alpha=1.0, beta=0.5), *of_scores(0.0, 2.0, 0.25, 0.75)).item() == 2
