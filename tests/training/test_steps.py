"""Large data has larger batches, so that an epoch has a limited number of steps."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.data import Interactions
from hardneg.models import ModelConfig
from hardneg.sampling import SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, Fitted, fit_model
from hardneg.training.steps import LARGEST_BATCH, LARGEST_RATE, StepSize, limit_steps

USUAL = StepSize(2048, 3e-3)


def test_small_data_keeps_its_batches() -> None:
    assert limit_steps(204_800, USUAL, 100) is USUAL
    assert limit_steps(10**9, USUAL, None) is USUAL


def test_the_rate_grows_with_the_root_of_the_batch_up_to_a_limit() -> None:
    assert limit_steps(819_200, USUAL, 100) == StepSize(8192, 6e-3)
    assert limit_steps(10**7, USUAL, 100) == StepSize(100_000, LARGEST_RATE)
    assert limit_steps(10**7, StepSize(2048, 0.5), 100) == StepSize(100_000, 0.5), "a larger rate of the user stays"
    assert limit_steps(10**9, USUAL, 100).batch_size == LARGEST_BATCH
    assert limit_steps(10**9, StepSize(2**20, 3e-3), 100).batch_size == 2**20, "a larger batch of the user stays"


@given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 1000))
def test_an_epoch_has_at_most_so_many_steps(n_pairs: int, batch_size: int, max_steps: int) -> None:
    size = limit_steps(n_pairs, StepSize(batch_size, 1e-3), max_steps)
    assert size.batch_size >= batch_size
    assert size.learning_rate >= 1e-3
    assert math.ceil(n_pairs / size.batch_size) <= max_steps or size.batch_size >= LARGEST_BATCH


def train(kind: str, **fit: Any) -> Fitted:
    rng = np.random.default_rng(0)
    seen = Interactions.of(rng.integers(0, 12, 60), rng.integers(0, 20, 60), n_users=12, n_items=20)
    config = FitConfig.model_validate({"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, **fit})
    model = ModelConfig.model_validate({"kind": kind}).build(seen, seed=3)
    sampler = Uniform().build(SamplerInputs(model.final_size, None, 3))
    steps: list[int] = []
    fitted = fit_model(
        model, seen, sampler, UniformCandidates(seen), config, validate=None, watch=lambda *told: steps.append(told[1])
    )
    assert len(steps) == math.ceil(len(seen) / fitted.step_size.batch_size)
    return fitted


def test_training_takes_the_steps() -> None:
    limited = train("lightgcn", max_steps=5)
    assert limited.step_size.batch_size > 4
    equal = train("lightgcn", max_steps=None, **asdict(limited.step_size))
    assert limited.state.curves == equal.state.curves
    assert train("lightgcn", max_steps=None).step_size == StepSize(4, 1e-3)


@pytest.mark.parametrize(
    ("kind", "fit"),
    [("simgcl", {}), ("ngcf", {}), ("mf", {"optimizer": "sgd"}), ("mf", {"loss": {"kind": "direct-au"}})],
)
def test_losses_of_a_batch_and_steps_of_a_pair_keep_their_batches(kind: str, fit: dict[str, Any]) -> None:
    assert train(kind, max_steps=5, **fit).step_size == StepSize(4, 1e-3)
