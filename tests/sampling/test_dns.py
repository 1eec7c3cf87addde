"""DNS(M, N): one of the top M."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.config import parse_config
from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.random import Stream
from hardneg.sampling import DNS, SamplerConfig, SamplerInputs, UniformCandidates
from hardneg.types import Batch, Embeddings

STREAM = Stream(2, "sampler", 1)
NOTHING = SamplerInputs(8, None, 0)


def candidates_of(seen: Interactions, batch: Batch, n: int) -> torch.Tensor:
    where = batch.rows.numpy(), batch.users.numpy()
    return torch.from_numpy(UniformCandidates(seen).draw(*where, n=n, stream=Stream(0, "drawn", 1)))


def test_one_of_the_top_equals_the_slow_loop(seen: Interactions, batch: Batch, embeddings: Embeddings) -> None:
    candidates = candidates_of(seen, batch, 6)
    result = DNS(candidates=6, top=3).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items
    units = STREAM.uniform(batch.rows.numpy(), 1)
    users, items = embeddings.final_users.detach().numpy(), embeddings.final_items.detach().numpy()
    for row, user in enumerate(batch.users.tolist()):
        best_first = sorted(candidates[row].tolist(), key=lambda item: -float(users[user] @ items[item]))
        assert result[row].item() == best_first[int(units[row, 0] * 3)]


def test_top_1_is_independent_of_the_stream(seen: Interactions, batch: Batch, embeddings: Embeddings) -> None:
    """M = 1 is DNS: the hardest candidate, independent of the stream."""
    candidates = candidates_of(seen, batch, 6)
    result = [
        DNS(candidates=6, top=1).build(NOTHING).sample(batch, embeddings, candidates, Stream(seed, "sampler", 1)).items
        for seed in range(3)
    ]
    plain = DNS(candidates=6).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items
    assert all(torch.equal(one, plain) for one in result)


@pytest.mark.parametrize(("top", "expected"), [(5, [0.2] * 5), (2, [0, 0, 0, 0.5, 0.5])])
def test_shares_of_the_candidates(top: int, expected: list[float]) -> None:
    """M = N is uniform in distribution, M < N uniform over the top M: candidates 0..4 ascend in score."""
    n = 20_000
    pairs = Batch(torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64), 1, 0)
    tables = Embeddings((torch.ones(1, 1),), (torch.arange(5.0).unsqueeze(1),), "mean")
    candidates = torch.arange(5).expand(n, 5)
    result = DNS(candidates=5, top=top).build(NOTHING).sample(pairs, tables, candidates, STREAM).items
    shares = np.bincount(result[:, 0].numpy(), minlength=5) / n
    np.testing.assert_allclose(shares, expected, atol=0.015)
    assert (shares[np.array(expected) == 0] == 0).all()


def test_the_choice_is_the_same_in_any_batch(seen: Interactions, batch: Batch, embeddings: Embeddings) -> None:
    candidates, sampler = candidates_of(seen, batch, 6), DNS(candidates=6, top=4).build(NOTHING)
    whole = sampler.sample(batch, embeddings, candidates, STREAM).items
    order = torch.randperm(len(batch.rows), generator=torch.Generator().manual_seed(4))
    for part in order.split(3):
        few = Batch(batch.rows[part], batch.users[part], batch.positives[part], 1, 0)
        assert torch.equal(sampler.sample(few, embeddings, candidates[part], STREAM).items, whole[part])


@pytest.mark.parametrize("negatives", [1, 2, 4])
def test_several_negatives_are_distinct_ranks_of_the_top_all_equally_likely(negatives: int) -> None:
    """By a slow shuffle; with all of the top, in the order of their scores."""
    n = 20_000
    pairs = Batch(torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64), 1, 0)
    tables = Embeddings((torch.ones(1, 1),), (torch.arange(6.0).unsqueeze(1),), "mean")
    sampler = DNS(candidates=6, top=4, negatives=negatives).build(NOTHING)
    result = sampler.sample(pairs, tables, torch.arange(6).expand(n, 6), STREAM).items.numpy()
    assert result.shape == (n, negatives)
    assert (np.diff(np.sort(result, axis=1)) > 0).all()
    shares = np.bincount(result.ravel(), minlength=6) / n
    np.testing.assert_allclose(shares, [0, 0, *[negatives / 4] * 4], atol=0.015)
    units = STREAM.uniform(np.arange(50), negatives)
    for row in range(50):
        ranks = [0, 1, 2, 3]
        for place in range(negatives if negatives < 4 else 0):
            other = place + int(units[row, place] * (4 - place))
            ranks[place], ranks[other] = ranks[other], ranks[place]
        assert result[row].tolist() == [5 - rank for rank in ranks[:negatives]]


def test_top_above_candidates_is_refused() -> None:
    with pytest.raises(ConfigError, match="found top 6 of 5 candidates"):
        parse_config(SamplerConfig, {"kind": "dns", "candidates": 5, "top": 6}, where="--sampler dns")
    with pytest.raises(ConfigError, match="found 3 negatives of the top 2"):
        parse_config(SamplerConfig, {"kind": "dns", "top": 2, "negatives": 3}, where="--sampler dns")
