"""Checkpoints: load restores exactly what save wrote, and refuses files of other work."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hardneg.artifacts import CHECKPOINT
from hardneg.checkpoint import CheckpointFile, TrainingState
from hardneg.errors import DataError


def run_steps(layer: nn.Linear, adam: torch.optim.Adam, steps: int) -> None:
    for _ in range(steps):
        adam.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        adam.step()


def trained(steps: int) -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    adam = torch.optim.Adam(layer.parameters())
    run_steps(layer, adam, steps)
    return layer, adam


def made_state() -> TrainingState:
    state = TrainingState(iteration=3, curves=[{"loss": 0.5}], counters={"pairs": 2.0})
    state.best = {"a/b": torch.arange(3)}
    return state


def test_resumed_training_equals_uninterrupted_training(tmp_path: Path) -> None:
    expected, _ = trained(5)
    layer, adam = trained(3)
    CheckpointFile(tmp_path, "key").save(made_state(), layer.state_dict(), adam)
    layer, adam = trained(0)
    state = CheckpointFile(tmp_path, "key").load(layer.state_dict(), adam)
    assert state is not None
    assert (state.iteration, state.curves, state.counters) == (3, [{"loss": 0.5}], {"pairs": 2.0})
    assert state.best_value == float("-inf")
    assert state.best["a/b"].tolist() == [0, 1, 2]
    run_steps(layer, adam, 2)
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), expected.parameters(), strict=True))


def test_a_check_keeps_the_tensors_of_the_highest_value() -> None:
    state, tensor = TrainingState(), torch.zeros(2)
    for iteration, value in enumerate([0.1, 0.3, 0.3, float("nan"), 0.2], 1):
        state.iteration = iteration
        tensor.fill_(iteration)
        state.record_check(value, {"x": tensor})
    assert (state.best_iteration, state.best_value, state.checks_without_gain) == (2, 0.3, 3)
    assert state.best["x"].tolist() == [2, 2]


def test_equal_states_give_equal_bytes(tmp_path: Path) -> None:
    contents = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        layer, adam = trained(2)
        CheckpointFile(tmp_path / name, "key").save(made_state(), layer.state_dict(), adam)
        contents.add((tmp_path / name / CHECKPOINT).read_bytes())
    assert len(contents) == 1


def test_unusable_files_are_refused(tmp_path: Path) -> None:
    checkpoint = CheckpointFile(tmp_path, "key")
    layer, adam = trained(1)
    assert checkpoint.load(layer.state_dict(), adam) is None
    checkpoint.save(made_state(), layer.state_dict(), adam)
    with pytest.raises(DataError, match=r"checkpoint\.safetensors belongs to other settings"):
        CheckpointFile(tmp_path, "another").load(layer.state_dict(), adam)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors cannot be read"):
        checkpoint.load(layer.state_dict(), adam)
    save_file({"current/weight": torch.ones(2)}, checkpoint.path, metadata={"key": "key"})
    with pytest.raises(DataError, match="another version"):
        checkpoint.load(layer.state_dict(), adam)


def test_a_changed_byte_is_noticed_wherever_it_is(tmp_path: Path) -> None:
    layer, adam = trained(3)
    checkpoint = CheckpointFile(tmp_path, "key")
    checkpoint.save(made_state(), layer.state_dict(), adam)
    whole = checkpoint.path.read_bytes()
    places = [
        place for place in range(0, len(whole), 7) if whole[place : place + 1].strip()
    ]  # not the header's padding
    for place in places:
        checkpoint.path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(DataError, match=r"checkpoint\.safetensors"):
            checkpoint.load(layer.state_dict(), adam)
