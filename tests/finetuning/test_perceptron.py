"""The control without a language model is tuned, saved and used like one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import make_inputs, spaces_of

from hardneg.artifacts import content_hashes
from hardneg.checkpoint import CheckpointFile
from hardneg.errors import ConfigError
from hardneg.finetuning import (
    NoTemplate,
    PairInputs,
    Perceptron,
    PerceptronConfig,
    TunedEncoder,
    TuningConfig,
    load_tuned,
    save_tuned,
    synthesize,
    tune,
)
from hardneg.finetuning.inputs import prompt_batch
from hardneg.llm.local.weights import ModelSource

SMALL = PerceptronConfig(hidden_size=16, size=12)
CONFIG = TuningConfig(
    epochs=30, batch_size=12, micro_batch=5, look_every=4, checkpoint_every=3, held_out=0.2, patience=99
)


class KilledError(Exception):
    pass


def tuned(
    config: TuningConfig = CONFIG, *, out: Path | None = None, kill_at: int | None = None
) -> tuple[TunedEncoder, PairInputs]:
    inputs, labels = make_inputs()

    def watch(_: str, step: int, __: int) -> None:
        if step == kill_at:
            raise KilledError

    encoder = Perceptron(SMALL, spaces=spaces_of(inputs, labels))
    resume = CheckpointFile(out, "k") if out else None
    return tune(encoder, NoTemplate(), inputs, labels, config, resume=resume, progress=watch), inputs


def test_it_is_the_formula() -> None:
    inputs, labels = make_inputs()
    encoder, template = Perceptron(SMALL, spaces=spaces_of(inputs, labels)), NoTemplate()
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    rows = np.array([3, 0, 5])
    result = encoder(prompt_batch(inputs, tokens, rows, encoder.device)).detach().numpy()
    for place, row in enumerate(rows):
        u, i = inputs.pairs.users[row], inputs.pairs.items[row]
        state = np.concatenate(
            [inputs.users[u] / encoder.scales_in[0].item(), inputs.items[i] / encoder.scales_in[1].item()]
        )
        for number, layer in enumerate(encoder.layers):
            state = layer.weight.detach().numpy() @ state + layer.bias.detach().numpy()
            state = np.maximum(state, 0) if number < 2 else state
        np.testing.assert_allclose(result[place], state, rtol=1e-4, atol=1e-5)


def test_it_learns_and_no_profile_matters() -> None:
    result, inputs = tuned()
    curves = result.state.curves
    assert curves[-1]["loss"] < curves[1]["loss"] - 0.2
    assert -result.state.best_value < curves[0]["held_out_loss"]
    labels = make_inputs()[1]
    blank = replace(inputs, user_profiles=[""] * 6, item_profiles=[""] * 9)
    again = tune(Perceptron(SMALL, spaces=spaces_of(inputs, labels)), NoTemplate(), blank, labels, CONFIG)
    assert again.state.curves[-1] == curves[-1]
    assert again.row_report == ()


def test_the_same_pairs_are_held_out_as_for_a_language_model(bases: Bases) -> None:
    from tests.finetuning.test_tuning import tuned as tuned_base

    config = CONFIG.model_copy(update={"epochs": 1})
    np.testing.assert_array_equal(tuned(config)[0].held_out, tuned_base(bases("bert"), config).held_out)


def test_killed_and_resumed_it_leaves_the_same_files(tmp_path: Path) -> None:
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    save_tuned(tmp_path / "whole", tuned(out=tmp_path / "whole")[0], NoTemplate(), None)
    for step in (2, 7):
        with pytest.raises(KilledError):
            tuned(out=tmp_path / "broken", kill_at=step)
    save_tuned(tmp_path / "broken", tuned(out=tmp_path / "broken")[0], NoTemplate(), None)
    assert content_hashes(tmp_path / "whole", leave_out=()) == content_hashes(tmp_path / "broken", leave_out=())


def test_a_loaded_perceptron_gives_the_same_vectors(tmp_path: Path, bases: Bases) -> None:
    result, inputs = tuned(CONFIG.model_copy(update={"epochs": 2}))
    for name in ("tuned", "one", "other"):
        (tmp_path / name).mkdir()
    save_tuned(tmp_path / "tuned", result, NoTemplate(), None)
    encoder, template = load_tuned(tmp_path / "tuned", None)
    paths = [synthesize(w, template, inputs, tmp_path / n) for w, n in ((result.encoder, "one"), (encoder, "other"))]
    vectors, again = (np.load(path) for path in paths)
    np.testing.assert_array_equal(vectors, again)
    assert vectors.shape == (len(inputs.pairs), 12)
    np.testing.assert_allclose(np.linalg.norm(vectors.astype(np.float32), axis=1), 1, atol=2e-3)
    with pytest.raises(ConfigError, match=r"tuned on none .*tiny-bert"):
        load_tuned(tmp_path / "tuned", ModelSource(str(bases("bert"))))


def test_untuned_is_the_start() -> None:
    inputs, labels = make_inputs()
    result, _ = tuned(CONFIG.model_copy(update={"epochs": 0}))
    start = Perceptron(SMALL, spaces=spaces_of(inputs, labels)).state_dict()
    assert all(torch.equal(value, start[name]) for name, value in result.encoder.state_dict().items())
    assert (result.state.iteration, result.state.best_iteration) == (0, 0)
    assert len(result.state.curves) == 1
