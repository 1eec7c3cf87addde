"""Losses against slow loops and known values."""

from __future__ import annotations

import math

import numpy as np
import torch

from hardneg.models import bpr, l2


def test_bpr_equals_the_slow_loop() -> None:
    rng = np.random.default_rng(0)
    positive, negatives = rng.normal(size=5), rng.normal(size=(5, 3))
    total = 0.0
    for p, row in zip(positive, negatives, strict=True):
        total += math.log(1 + sum(math.exp(n - p) for n in row))
    found = bpr(torch.from_numpy(positive), torch.from_numpy(negatives))
    assert found.shape == ()
    assert math.isclose(found.item(), total / 5, rel_tol=1e-12)


def test_one_negative_is_minus_log_sigmoid() -> None:
    found = bpr(torch.tensor([2.0]), torch.tensor([[0.5]]))
    assert math.isclose(found.item(), -math.log(1 / (1 + math.exp(-1.5))), rel_tol=1e-6)


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
