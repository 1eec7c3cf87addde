"""Large data has larger batches, so that an epoch has a limited number of steps."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Interactions
from hardneg.models import ModelConfig
from hardneg.sampling import SamplerInputs, Uniform, UniformCandidates
from hardneg.training import ExtraPositives, FitConfig, Fitted, Positives, fit_model
from hardneg.training.steps import LARGEST_BATCH, LARGEST_NUMBERS, LARGEST_RATE, StepSize, limit_steps

USUAL = StepSize(2048, 3e-3)


def test_small_data_keeps_its_batches() -> None:
    assert limit_steps(204_800, USUAL, 100, 64) is USUAL
    assert limit_steps(10**9, USUAL, None, 64) is USUAL


def test_the_rate_grows_with_the_root_of_the_batch_up_to_a_limit() -> None:
    assert limit_steps(819_200, USUAL, 100, 64) == StepSize(8192, 6e-3)
    assert limit_steps(10**7, USUAL, 100, 64) == StepSize(100_000, LARGEST_RATE)
    assert limit_steps(10**7, StepSize(2048, 0.5), 100, 64) == StepSize(100_000, 0.5), "a larger rate of the user stays"
    assert limit_steps(10**9, USUAL, 100, 64).batch_size == LARGEST_BATCH
    assert limit_steps(10**9, StepSize(2**20, 3e-3), 100, 64).batch_size == 2**20, "a larger batch of the user stays"


def test_the_rows_of_candidates_bound_the_batch() -> None:
    with_many = limit_steps(10**9, USUAL, 100, 64 * 256)
    assert with_many.batch_size * 64 * 256 == LARGEST_NUMBERS
    assert limit_steps(10**9, USUAL, 100, 64 * 10_000) == USUAL, "no batch is made smaller"


@given(st.integers(1, 10**8), st.integers(1, 10**5), st.integers(1, 1000))
def test_an_epoch_has_at_most_so_many_steps(n_pairs: int, batch_size: int, max_steps: int) -> None:
    size = limit_steps(n_pairs, StepSize(batch_size, 1e-3), max_steps, 64)
    assert size.batch_size >= batch_size
    assert size.learning_rate >= 1e-3
    assert math.ceil(n_pairs / size.batch_size) <= max_steps or size.batch_size >= LARGEST_BATCH


def make_pairs() -> Interactions:
    rng = np.random.default_rng(0)
    return Interactions.of(rng.integers(0, 12, 60), rng.integers(0, 20, 60), n_users=12, n_items=20)


def train(kind: str, extra: ExtraPositives | None = None, resume: CheckpointFile | None = None, **fit: Any) -> Fitted:
    seen = make_pairs()
    config = FitConfig.model_validate({"epochs": 1, "batch_size": 4, "learning_rate": 1e-3, **fit})
    model = ModelConfig.model_validate({"kind": kind}).build(seen, seed=3)
    sampler = Uniform().build(SamplerInputs(model.final_size, None, 3))
    steps: list[int] = []
    positives = Positives(seen, extra)
    fitted = fit_model(
        model,
        positives,
        sampler,
        UniformCandidates(seen),
        config,
        validate=None,
        resume=resume,
        watch=lambda *told: steps.append(told[1]),
    )
    assert max(steps) == math.ceil(len(positives) / fitted.step_size.batch_size)
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


def test_extra_positives_change_no_step() -> None:
    more = Interactions.of(np.zeros(5, np.int64), np.arange(15, 20), n_users=12, n_items=20)
    seen = make_pairs()
    new = ~seen.contains(more.users, more.items)
    extra = ExtraPositives(Interactions(more.users[new], more.items[new], 12, 20))
    assert len(extra.pairs)
    assert train("mf", extra, max_steps=5).step_size == train("mf", max_steps=5).step_size


def test_an_interrupted_training_goes_on_with_the_same_steps(tmp_path: Path) -> None:
    whole = train("lightgcn", max_steps=5, epochs=4)
    first = train("lightgcn", resume=CheckpointFile(tmp_path, "key"), max_steps=5, epochs=2, check_every=2)
    rest = train("lightgcn", resume=CheckpointFile(tmp_path, "key"), max_steps=5, epochs=4, check_every=2)
    assert (first.state.iteration, rest.state.iteration) == (2, 4)
    assert rest.step_size == whole.step_size
    assert [
        torch.equal(one, other) for one, other in zip(rest.model.parameters(), whole.model.parameters(), strict=True)
    ] == [True, True]
