"""The InfoNCE bound, where the mutual information is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hardneg.diagnostics import infonce_bound
from hardneg.errors import DataError


def test_by_hand() -> None:
    assert infonce_bound(0.0, 7) == pytest.approx(math.log(8))
    assert infonce_bound(math.log(8), 7) == pytest.approx(0.0)
    assert infonce_bound(3.0, 7) < 0


def test_it_stays_below_the_true_information_of_two_gaussians(rng: np.random.Generator) -> None:
    """x and y with correlation r share -log(1 - r^2) / 2 nats; the best critic is their log density ratio."""
    r, n, batch = 0.9, 400, 64
    x = rng.normal(size=(n, batch))
    y = r * x + math.sqrt(1 - r * r) * rng.normal(size=(n, batch))
    a, b = x[:, :, None], y[:, None, :]
    critic = -((b - r * a) ** 2) / (2 * (1 - r * r)) + b**2 / 2
    losses = np.log(np.exp(critic).sum(axis=2)) - np.einsum("nbb->nb", critic)
    information = -math.log(1 - r * r) / 2
    found = infonce_bound(float(losses.mean()), batch - 1)
    assert 0.8 * information < found < information + 0.01


@pytest.mark.parametrize(("loss", "n"), [(-0.1, 3), (float("nan"), 3), (1.0, 0)])
def test_what_cannot_be_is_refused(loss: float, n: int) -> None:
    with pytest.raises(DataError, match="expected a loss from 0 up"):
        infonce_bound(loss, n)
