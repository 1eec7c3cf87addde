"""Losses compared with slow loops and known values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hardneg.errors import DataError
from hardneg.training.objective import bpr, bpr_of_rows, l2


def test_bpr_equals_the_slow_loop() -> None:
    rng = np.random.default_rng(0)
    positive, negatives = rng.normal(size=5), rng.normal(size=(5, 3))
    total = 0.0
    for p, row in zip(positive, negatives, strict=True):
        total += math.log(1 + sum(math.exp(n - p) for n in row))
    result = bpr(torch.from_numpy(positive), torch.from_numpy(negatives))
    assert result.shape == ()
    assert math.isclose(result.item(), total / 5, rel_tol=1e-12)


def test_one_negative_is_minus_log_sigmoid() -> None:
    result = bpr(torch.tensor([2.0]), torch.tensor([[0.5]]))
    assert math.isclose(result.item(), -math.log(1 / (1 + math.exp(-1.5))), rel_tol=1e-6)


def test_bpr_neither_overflows_nor_is_unbounded_below() -> None:
    assert bpr(torch.tensor([-1e4]), torch.tensor([[1e4, 1e4]])).isfinite()
    assert bpr(torch.tensor([1e4]), torch.tensor([[-1e4]])).item() == 0.0


def test_the_gradient_weighs_hard_pairs_most() -> None:
    positive = torch.tensor([0.0, 0.0], requires_grad=True)
    bpr(positive, torch.tensor([[3.0], [-3.0]])).backward()
    hard, easy = positive.grad.abs().tolist()
    assert hard > 10 * easy


def test_l2_is_half_the_squared_norm_per_pair() -> None:
    users, items, negatives = torch.ones(2, 3), 2 * torch.ones(2, 3), torch.ones(2, 4, 3)
    assert math.isclose(l2(users, items, negatives).item(), (6 + 24 + 24) / 4)


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_bpr_of_rows_is_bpr_of_their_scores_with_its_gradients(n: int, scale: float) -> None:
    generator = torch.Generator().manual_seed(n)
    users = (torch.randn(40, 9, generator=generator) * scale).requires_grad_()
    items = torch.randn(40, 1 + n, 9, generator=generator).requires_grad_()
    (3 * bpr_of_rows(users, items)).backward()
    exact = [table.detach().double().requires_grad_() for table in (users, items)]
    scores = (exact[1] * exact[0].unsqueeze(1)).sum(dim=2)
    loss = 3 * bpr(scores[:, 0], scores[:, 1:])
    loss.backward()
    assert bpr_of_rows(users, items).item() * 3 == pytest.approx(loss.item(), rel=1e-5)
    for result, expected in zip((users, items), exact, strict=True):
        torch.testing.assert_close(result.grad.double(), expected.grad, atol=1e-6 * scale, rtol=1e-4)


def test_bpr_of_rows_neither_overflows_nor_hides_nan() -> None:
    far = torch.tensor([[[-1e4], [1e4], [1e4]]])
    assert bpr_of_rows(torch.ones(1, 1), far).item() == pytest.approx(2e4 + math.log(2))
    assert bpr_of_rows(torch.ones(1, 1), -far).item() == 0.0
    assert bpr_of_rows(torch.full((1, 1), float("nan")), far).isnan()
    assert bpr_of_rows(torch.ones(1, 1), torch.tensor([[[0.0], [float("nan")]]])).isnan()


def test_bpr_of_rows_keeps_small_losses_and_other_numbers() -> None:
    easy = torch.tensor([[[20.0], [0.0]]])
    assert bpr_of_rows(torch.ones(1, 1), easy).item() == pytest.approx(2.0611536e-09, rel=1e-5)
    assert bpr_of_rows(torch.ones(1, 1).double(), easy.double()).dtype == torch.float64
    with pytest.raises(DataError, match=r"1 users.* 3 "):
        bpr_of_rows(torch.ones(1, 4), torch.ones(3, 3, 4))


def test_the_gradient_of_l2_is_the_rows_over_the_batch() -> None:
    users, items = (torch.randn(*shape, requires_grad=True) for shape in ((5, 3), (5, 2, 3)))
    (2 * l2(users, items)).backward()
    torch.testing.assert_close(users.grad, 2 * users.detach() / 5)
    torch.testing.assert_close(items.grad, 2 * items.detach() / 5)
