"""Estimated seconds count the pairs and steps that tuning and synthesis would take."""

from __future__ import annotations

import numpy as np
import pytest
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import make_inputs, opened

from hardneg.data.interactions import Interactions
from hardneg.finetuning import (
    EncoderConfig,
    NoTemplate,
    Perceptron,
    PerceptronConfig,
    SynthesisConfig,
    TuningConfig,
    timing,
    tune,
)

from .tiny import spaces_of


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every timed piece of work takes one second."""

    def work(call: object) -> float:
        call()
        return 1.0

    monkeypatch.setattr(timing, "_seconds", work)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_tuning_is_estimated_by_steps_and_checks(bases: Bases, ticking: None, family: str) -> None:
    _, template, encoder, inputs, labels = opened(bases(family))
    config = TuningConfig(pairs=1000, epochs=3, batch_size=10, micro_batch=4, held_out=0.1, look_every=20)
    seconds = timing.estimate_tuning(encoder, template, (inputs, labels), 500, config)
    steps, timed, checks = 45 * 3, 10, 1 + 7
    assert seconds == pytest.approx(steps * 10 / timed + checks * 50 / timed)
    untuned = config.model_copy(update={"epochs": 0})
    assert timing.estimate_tuning(encoder, template, (inputs, labels), 500, untuned) == pytest.approx(50 / timed)


def test_the_counted_steps_and_checks_are_those_of_tuning() -> None:
    inputs, labels = make_inputs()
    config = TuningConfig(epochs=2, batch_size=6, look_every=2, patience=50)
    encoder = Perceptron(PerceptronConfig(size=8), spaces=spaces_of(inputs, labels))
    tuned = tune(encoder, NoTemplate(), inputs, labels, config)
    held_out = timing.count_held_out(len(inputs.pairs), config)
    steps = (len(inputs.pairs) - held_out) // 6 * 2
    assert (len(tuned.held_out), tuned.state.iteration) == (held_out, steps)
    assert len(tuned.state.curves) == 1 + -(-steps // 2)


@pytest.mark.parametrize(("reading", "expected"), [("joint", 20), ("apart", 10)])
def test_synthesis_is_estimated_by_pairs_or_by_users_and_items(
    bases: Bases, ticking: None, reading: str, expected: int
) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"), EncoderConfig(rank=4, reading=reading))
    n, rng = 20 * len(inputs.pairs), np.random.default_rng(0)
    train = Interactions.of(rng.integers(60, size=9 * n), rng.integers(90, size=9 * n), n_users=60, n_items=90)
    train = Interactions(train.users[:n], train.items[:n], 60, 90)
    assert timing.estimate_synthesis(encoder, template, (inputs, labels), train, SynthesisConfig()) == expected
