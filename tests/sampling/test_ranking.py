"""Scores of candidates and the choice by rank, against slow loops."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.sampling.sampler import hardest, pick_by_rank, score_all

FEW_VALUES = st.sampled_from([-1.0, 0.0, 0.5, 2.0, float("inf"), float("-inf")])


def test_scores_are_inner_products_without_gradients() -> None:
    generator = torch.Generator().manual_seed(1)
    queries, table = (torch.randn(n, 19, generator=generator, requires_grad=True) for n in (50, 30))
    candidates = torch.randint(30, (50, 7), generator=generator)
    result = score_all(queries, table, candidates)
    assert not result.requires_grad
    torch.testing.assert_close(result, (table[candidates] * queries.unsqueeze(1)).sum(dim=2).detach())
    with pytest.raises(DataError, match=r"rows 0 to 29 of a table that has 3"):
        score_all(queries, table[:3], candidates)


@pytest.mark.parametrize("threads", [1, 3])
def test_the_first_by_score_is_the_hardest(threads: int) -> None:
    generator = torch.Generator().manual_seed(2)
    queries, table = (torch.randn(n, 64, generator=generator) for n in (5000, 300))
    candidates = torch.randint(300, (5000, 10), generator=generator)
    torch.set_num_threads(threads)
    try:
        result = pick_by_rank(score_all(queries, table, candidates)).unsqueeze(1)
        assert torch.equal(candidates.gather(1, result)[:, 0], hardest(queries, table, candidates))
    finally:
        torch.set_num_threads(1)


@given(st.data())
def test_ranks_are_those_of_a_stable_sort(data: st.DataObject) -> None:
    n = data.draw(st.integers(1, 9))
    preferences = data.draw(st.lists(st.lists(FEW_VALUES, min_size=n, max_size=n), min_size=1, max_size=4))
    ranks = [data.draw(st.integers(0, n - 1)) for _ in preferences]
    result = pick_by_rank(torch.tensor(preferences), torch.tensor(ranks))
    for row, (values, rank) in enumerate(zip(preferences, ranks, strict=True)):
        assert result[row].item() == sorted(range(n), key=lambda place: -values[place])[rank]


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_nan_is_returned_at_any_rank(rank: int) -> None:
    preferences = torch.tensor([[1.0, float("nan"), 3.0], [float("nan"), 2.0, float("nan")]])
    assert pick_by_rank(preferences, torch.tensor([rank, rank])).tolist() == [1, 0]
