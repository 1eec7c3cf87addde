"""The pairs of an epoch: both orders, and what `by-user` refuses."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.fitting import sampler_problem
from hardneg.models.config import MF
from hardneg.random import generator
from hardneg.sampling import InBatchSampling, InBatchSource, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import ExtraPositives, FitConfig, Positives, fit_model
from hardneg.training.losses import SampledSoftmax
from hardneg.training.order import draw_order


@pytest.fixture
def train() -> Interactions:
    """User 0 has no pair, user 1 one, user 2 four, user 3 none, user 4 fifteen."""
    users = np.repeat([1, 2, 4], [1, 4, 15])
    return Interactions.of(users, np.arange(20) % 15, n_users=6, n_items=16)


def test_each_pair_comes_once(train: Interactions) -> None:
    order = draw_order(Positives(train), "each-pair", generator(3, "order", 1))
    assert sorted(order) == list(range(20))
    assert order.tolist() != sorted(order)


def test_by_user_draws_every_user_equally_often_and_each_of_its_pairs(train: Interactions) -> None:
    epochs = 3000
    rng = generator(3, "order", 1)
    drawn = Counter[int]()
    for _ in range(epochs):
        order = draw_order(Positives(train), "by-user", rng)
        assert len(order) == 20
        drawn.update(order.tolist())
    for pair, user in enumerate(train.users.tolist()):
        of_user = sum(1 for other in train.users if other == user)
        expected = 20 * epochs / (3 * of_user)
        assert drawn[pair] == pytest.approx(expected, abs=6 * expected**0.5)


def test_by_user_equals_a_loop_over_its_random_numbers(train: Interactions) -> None:
    order = draw_order(Positives(train), "by-user", generator(3, "order", 2))
    rng = generator(3, "order", 2)
    users = [[1, 2, 4][place] for place in rng.integers(0, 3, 20)]
    pairs_of = {user: [pair for pair, other in enumerate(train.users) if other == user] for user in users}
    places = rng.integers(0, np.array([len(pairs_of[user]) for user in users]))
    assert order.tolist() == [pairs_of[user][place] for user, place in zip(users, places, strict=True)]


def test_by_user_refuses_extra_positives(train: Interactions) -> None:
    more = Interactions.of(np.array([3]), np.array([0]), n_users=6, n_items=16)
    positives = Positives(train, ExtraPositives(more))
    with pytest.raises(ConfigError, match="by-user, which has no place for extra positives"):
        draw_order(positives, "by-user", generator(3, "order", 1))
    unused = Positives(train, ExtraPositives(more, weight=0))
    assert len(draw_order(unused, "by-user", generator(3, "order", 1))) == 20


def test_by_user_refuses_what_it_cannot_correct() -> None:
    corrected = SampledSoftmax(correct_bias=True)
    by_user = FitConfig(order="by-user", loss=corrected)
    assert "cannot correct the bias" in str(sampler_problem(by_user, InBatchSampling()))
    assert "cannot correct the bias" in str(
        sampler_problem(by_user.model_copy(update={"candidates": InBatchSource()}), Uniform())
    )
    for usable in (FitConfig(loss=corrected), FitConfig(order="by-user", loss=SampledSoftmax(correct_bias=False))):
        assert sampler_problem(usable, InBatchSampling()) is None
    assert sampler_problem(by_user, Uniform()) is None


def test_training_draws_as_configured(train: Interactions) -> None:
    def losses(order: str) -> list[object]:
        config = FitConfig.model_validate({"epochs": 2, "batch_size": 8, "order": order})
        model, sampler = MF(embedding_size=4).build(train, seed=3), Uniform().build(SamplerInputs(4, None, 3))
        fitted = fit_model(model, train, sampler, UniformCandidates(train), config, validate=None)
        return [row["value"] for row in fitted.state.curves]

    assert losses("by-user") == losses("by-user") != losses("each-pair")
