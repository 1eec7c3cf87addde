"""Tuning learns, stops on held-out training pairs, and resumes after an interruption with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import opened

from hardneg.artifacts import content_hashes
from hardneg.checkpoint import CheckpointFile
from hardneg.errors import DataError, TrainingDivergedError
from hardneg.finetuning import EncoderConfig, HardNegativeEncoder, TunedEncoder, TuningConfig, save_tuned, tune
from hardneg.finetuning.inputs import PromptBatch

CONFIG = TuningConfig(
    epochs=40, batch_size=12, micro_batch=5, look_every=4, checkpoint_every=3, held_out=0.2, patience=99
)


class KilledError(Exception):
    pass


def tuned(
    folder: Path, config: TuningConfig = CONFIG, *, out: Path | None = None, kill_at: int | None = None
) -> TunedEncoder:
    source, template, encoder, inputs, labels = opened(folder)

    def watch(_: str, step: int, __: int) -> None:
        if step == kill_at:
            raise KilledError

    result = tune(
        encoder, template, inputs, labels, config, resume=CheckpointFile(out, "k") if out else None, progress=watch
    )
    if out:
        save_tuned(out, result, template, source)
    return result


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_it_learns(bases: Bases, family: str) -> None:
    result = tuned(bases(family), CONFIG.model_copy(update={"epochs": 12}))
    curves = result.state.curves
    assert curves[0]["step"] == 0
    assert curves[-1]["loss"] < curves[1]["loss"] - 0.2
    assert -result.state.best_value < curves[0]["held_out_loss"]
    held = len(result.held_out)
    assert curves[0]["information"] == pytest.approx(np.log(held) - curves[0]["held_out_loss"])


def test_a_pool_with_a_small_set_is_refused(bases: Bases) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"))
    sets = np.zeros(len(labels), np.int64)
    sets[:9] = 1
    with pytest.raises(DataError, match=r"set 2 .* \d pairs .* 12"):
        tune(encoder, template, inputs, labels, CONFIG, sets=sets)
    with pytest.raises(DataError, match=r"set 1 .* 0 pairs"):
        tune(encoder, template, inputs, labels, CONFIG, sets=sets * 0 + 1)


def test_killed_and_resumed_it_leaves_the_same_files(bases: Bases, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"epochs": 16, "accumulate": 2})
    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    tuned(bases("llama"), config, out=tmp_path / "whole")
    for step in (2, 5, 7):  # before a checkpoint, between two, and after a look
        with pytest.raises(KilledError):
            tuned(bases("llama"), config, out=tmp_path / "broken", kill_at=step)
    tuned(bases("llama"), config, out=tmp_path / "broken")
    whole, broken = (content_hashes(tmp_path / name, leave_out=()) for name in ("whole", "broken"))
    assert "checkpoint.safetensors" in whole
    assert whole == broken


def test_micro_batches_and_gradient_checkpointing_change_only_rounding(bases: Bases) -> None:
    result = []
    for update in ({"micro_batch": 12}, {"micro_batch": 3}, {"micro_batch": 3, "gradient_checkpointing": True}):
        made = opened(bases("llama"), EncoderConfig(rank=4, dropout=0))
        config = CONFIG.model_copy(update={"epochs": 4, **update})
        result.append([row["held_out_loss"] for row in tune(*made[2:1:-1], made[1], *made[3:], config).state.curves])
    np.testing.assert_allclose(result[1:], [result[0]] * 2, rtol=1e-3)


def test_many_negatives_need_no_more_memory(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large the batch, no graph holds more prompts than a micro-batch."""
    held, forward = [], HardNegativeEncoder.forward

    def watched(self: HardNegativeEncoder, batch: PromptBatch) -> torch.Tensor:
        held.append((len(batch.ids), torch.is_grad_enabled()))
        return forward(self, batch)

    monkeypatch.setattr(HardNegativeEncoder, "forward", watched)
    tuned(bases("bert"), CONFIG.model_copy(update={"epochs": 1, "micro_batch": 2}))
    assert max(size for size, _ in held) == 2
    assert sum(size for size, graph in held if graph) == 12  # a batch, once with its graph


def test_it_stops_early_and_restores_the_best_weights(bases: Bases) -> None:
    config = CONFIG.model_copy(update={"patience": 2, "look_every": 1, "epochs": 200, "lift_learning_rate": 0.05})
    result = tuned(bases("bert"), config).state
    losses = [row["held_out_loss"] for row in result.curves]
    assert result.iteration == result.best_iteration + 2 < 200
    assert min(losses) == -result.best_value == losses[result.best_iteration]


def test_pairs_without_labels_are_left_out_and_counted(bases: Bases) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"))
    labels[::2] = np.nan
    result = tune(encoder, template, inputs, labels, CONFIG.model_copy(update={"epochs": 1}))
    assert result.row_report[0].count == len(labels[::2])
    assert not np.isin(result.held_out, np.arange(0, len(labels), 2)).any()
    assert np.isfinite([row["held_out_loss"] for row in result.state.curves]).all()


def test_only_so_many_pairs_are_used_and_held_out_ones_are_not_tuned_on(bases: Bases) -> None:
    """Labels of held-out pairs do not change the weights."""
    weights = []
    for change in (0.0, 1.0):
        _, template, encoder, inputs, labels = opened(bases("bert"))
        config = CONFIG.model_copy(update={"epochs": 2, "pairs": 16, "look_every": 1, "patience": 99})
        held = tune(encoder, template, inputs, labels, config).held_out
        assert len(held) == 4
        _, template, encoder, inputs, labels = opened(bases("bert"))
        labels[held] += change
        tune(encoder, template, inputs, labels, config.model_copy(update={"look_every": 99}))
        weights.append(encoder.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_unusable_labels_and_diverged_losses_are_errors(bases: Bases) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"))
    with pytest.raises(DataError, match=r"labels of shape \(\d+, 8\)"):
        tune(encoder, template, inputs, labels[1:], CONFIG)
    with pytest.raises(DataError, match=r"0 pairs.* 4"):
        tune(encoder, template, inputs, np.full_like(labels, np.nan), CONFIG)
    with torch.no_grad():
        encoder.label_head.outer.bias.fill_(torch.nan)
    with pytest.raises(TrainingDivergedError, match="nan in step 1"):
        tune(encoder, template, inputs, labels, CONFIG)


def test_a_checkpoint_of_another_key_is_refused(bases: Bases, tmp_path: Path) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"))
    config = CONFIG.model_copy(update={"epochs": 2})
    tune(encoder, template, inputs, labels, config, resume=CheckpointFile(tmp_path, "one"))
    with pytest.raises(DataError, match="checkpoint"):
        tune(encoder, template, inputs, labels, config, resume=CheckpointFile(tmp_path, "two"))
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half")
    with pytest.raises(DataError, match="checkpoint"):
        tune(encoder, template, inputs, labels, config, resume=CheckpointFile(tmp_path, "one"))


def test_profiles_change_the_result(bases: Bases) -> None:
    losses = []
    for texts in (False, True):
        _, template, encoder, inputs, labels = opened(bases("bert"))
        changed_inputs = replace(inputs, item_profiles=["novel"] * 9) if texts else inputs
        losses.append(tune(encoder, template, changed_inputs, labels, CONFIG.model_copy(update={"epochs": 2})).state)
    assert losses[0].curves != losses[1].curves
