"""Scores of several items for each pair: values and gradients of gathered rows, without such rows."""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import torch
from torch import Tensor

from hardneg.errors import DataError
from hardneg.training import BPR, BinaryCrossEntropy, Hinge, LossConfig, SampledSoftmax, l2, objective
from hardneg.training.item_scores import item_scores, squared_norms
from hardneg.types import Batch, Embeddings, Items, gather_rows

N_USERS, N_ITEMS, SIZE, BATCH, N = 6, 9, 5, 7, 4


def made(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Tables of users and items, users of a batch, and items that repeat."""
    drawn = torch.Generator().manual_seed(seed)
    users, table = (torch.randn(n, SIZE, generator=drawn) for n in (N_USERS, N_ITEMS))
    rows = torch.randint(N_USERS, (BATCH,), generator=drawn)
    return users, table, rows, torch.randint(N_ITEMS, (BATCH, 1 + N), generator=drawn)


def test_scores_and_their_gradients_are_those_of_a_loop() -> None:
    users, table, rows, items = made()
    pooled, table = users[rows].requires_grad_(), table.requires_grad_()
    scores = item_scores(pooled, table, items)
    weights = torch.randn(BATCH, 1 + N, generator=torch.Generator().manual_seed(1))
    (scores * weights).sum().backward()
    of_users, of_table = np.zeros((BATCH, SIZE)), np.zeros((N_ITEMS, SIZE))
    for b in range(BATCH):
        for k in range(1 + N):
            item, weight = int(items[b, k]), float(weights[b, k])
            user, row = pooled[b].detach().numpy(), table[item].detach().numpy()
            assert scores[b, k].item() == pytest.approx(sum(x * y for x, y in zip(user, row, strict=True)), rel=1e-5)
            of_users[b] += weight * row
            of_table[item] += weight * user
    assert pooled.grad is not None
    assert table.grad is not None
    np.testing.assert_allclose(pooled.grad, of_users, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(table.grad, of_table, rtol=1e-5, atol=1e-6)


def test_other_precisions_have_the_same_values() -> None:
    users, table, rows, items = made()
    expected = item_scores(users[rows], table, items)
    torch.testing.assert_close(item_scores(users[rows].double(), table.double(), items).float(), expected)


@pytest.mark.parametrize("item", [-1, N_ITEMS])
def test_items_outside_the_table_are_refused(item: int) -> None:
    """Compiled code would read, and write, beyond it."""
    users, table, rows, items = made()
    items[3, 2] = item
    with pytest.raises(DataError, match=rf"that has {N_ITEMS}; .*return items of the catalogue"):
        item_scores(users[rows], table, items)
    with pytest.raises(DataError, match=r"found 2 users and 7 rows of items"):
        item_scores(users[:2], table, items)


def test_squared_norms_count_repeated_rows() -> None:
    _, table, _, items = made(2)
    table.requires_grad_()
    result = squared_norms(table, items)
    result.backward()
    expected = sum(float((table[item].detach() ** 2).sum()) for item in items.flatten())
    counts = np.bincount(items.flatten(), minlength=N_ITEMS)
    assert result.item() == pytest.approx(expected, rel=1e-5)
    assert table.grad is not None
    np.testing.assert_allclose(table.grad.to_dense(), 2 * counts[:, None] * table.detach().numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "ranking", [BPR(), BPR(several="mean"), SampledSoftmax(temperature=0.5), BinaryCrossEntropy(), Hinge()]
)
@pytest.mark.parametrize("weighted", [False, True])
def test_the_objective_is_that_of_gathered_rows(
    ranking: LossConfig, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no tensor has a row for every item of every pair."""
    users, table, rows, items = made(3)
    weights = torch.rand(BATCH, N, generator=torch.Generator().manual_seed(4)) if weighted else None
    batch = Batch(torch.arange(BATCH), rows, items[:, 0], 1, 0)

    def of_pairs(table: Tensor, index: Tensor) -> Tensor:
        assert index.ndim == 1
        return gather_rows(table, index)

    def of_objective(tables: Embeddings) -> Tensor:
        with monkeypatch.context() as patch:
            patch.setattr(importlib.import_module("hardneg.training.objective"), "gather_rows", of_pairs)
            return objective(batch, tables, Items(items[:, 1:], weights=weights), 0.3, ranking=ranking)

    def of_rows(tables: Embeddings) -> Tensor:
        pairs, gathered = tables.final_users[rows], tables.final_items[items]
        return ranking.of_rows(pairs, gathered, weights, None) + 0.3 * l2(pairs, gathered)

    found = []
    for value in (of_objective, of_rows):
        leaves = [tensor.clone().requires_grad_() for tensor in (users, table)]
        loss = value(Embeddings((leaves[0],), (leaves[1],), "mean"))
        loss.backward()
        found.append([loss.detach(), *(leaf.grad.to_dense() for leaf in leaves if leaf.grad is not None)])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
