"""BPR of triplets, and pruning of the largest losses: slow loops, gradients, limit cases."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hardneg.models.pruned_bpr import keep_smallest, triplet_losses


def slow_pruned_sum(users: Tensor, liked: Tensor, disliked: Tensor, prune: float) -> Tensor:
    losses = [
        -torch.log(torch.sigmoid((u * i).sum() - (u * j).sum())) for u, i, j in zip(users, liked, disliked, strict=True)
    ]
    n_left_out = min(round(prune * len(losses)), len(losses) - 1)
    largest = sorted(range(len(losses)), key=lambda n: losses[n].item())[len(losses) - n_left_out :]
    return torch.stack([loss for n, loss in enumerate(losses) if n not in largest]).sum()


@pytest.mark.parametrize("prune", [0.0, 0.3, 0.71, 0.99])
def test_the_smallest_losses_are_kept_with_their_gradients(prune: float) -> None:
    torch.manual_seed(2)
    tables = [torch.randn(9, 4, dtype=torch.double, requires_grad=True) for _ in range(3)]
    others = [table.detach().clone().requires_grad_() for table in tables]
    loss, expected = keep_smallest(triplet_losses(*tables), prune).sum(), slow_pruned_sum(*others, prune)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table.grad, other.grad)
    kept = sum(bool(row.any()) for row in tables[0].grad)
    assert kept == max(9 - round(9 * prune), 1)


def test_pruning_keeps_the_order_and_never_the_largest() -> None:
    losses = torch.tensor([3.0, 1.0, 4.0, 1.5, 9.0])
    assert keep_smallest(losses, 0.4).tolist() == [3.0, 1.0, 1.5]
    assert keep_smallest(losses, 0) is losses
    assert keep_smallest(losses, 0.999).tolist() == [1.0]
    assert keep_smallest(losses[:0], 0.5).tolist() == []
    assert keep_smallest(torch.ones(4), 0.5).tolist() == [1.0, 1.0]


def test_scores_far_apart_do_not_overflow() -> None:
    users, liked = torch.ones(2, 1), torch.tensor([[500.0], [-500.0]])
    assert triplet_losses(users, liked, -liked).tolist() == [0.0, 1000.0]
    assert triplet_losses(users, liked, liked)[0].item() == pytest.approx(math.log(2))
