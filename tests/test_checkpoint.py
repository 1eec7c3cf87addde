"""Checkpoints: what is put back is what was there, and nothing else is taken for one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from hardneg.checkpoint import NAME, CheckpointFile
from hardneg.errors import ConfigError, DataError

STATE = {"epoch": 3, "curves": [{"loss": 0.5}], "largest": float("inf")}


def stepped(steps: int) -> tuple[nn.Linear, torch.optim.Adam]:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    adam = torch.optim.Adam(layer.parameters())
    for _ in range(steps):
        adam.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        adam.step()
    return layer, adam


def test_going_on_is_as_if_never_stopped(tmp_path: Path) -> None:
    whole, _ = stepped(5)
    layer, adam = stepped(3)
    CheckpointFile(tmp_path, "key").save({"model": layer.state_dict(), "best": {"a/b": torch.arange(3)}}, adam, STATE)
    saved = CheckpointFile(tmp_path, "key").load()
    assert saved is not None
    assert saved.state == STATE
    assert saved.group("best")["a/b"].tolist() == [0, 1, 2]
    layer, adam = stepped(0)
    layer.load_state_dict(saved.group("model"))
    saved.restore(adam)
    for _ in range(2):
        adam.zero_grad()
        layer(torch.ones(1, 3)).square().sum().backward()
        adam.step()
    assert all(torch.equal(a, b) for a, b in zip(layer.parameters(), whole.parameters(), strict=True))


def test_equal_work_leaves_equal_bytes(tmp_path: Path) -> None:
    found = set()
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        layer, adam = stepped(2)
        CheckpointFile(tmp_path / name, "key").save({"model": layer.state_dict()}, adam, STATE)
        found.add((tmp_path / name / NAME).read_bytes())
    assert len(found) == 1


@pytest.mark.parametrize("name", ["adam", "a/b"])
def test_names_that_would_be_mixed_up_are_refused(tmp_path: Path, name: str) -> None:
    layer, adam = stepped(1)
    with pytest.raises(ConfigError, match="cannot be called"):
        CheckpointFile(tmp_path, "key").save({name: layer.state_dict()}, adam, STATE)


def test_a_file_of_another_version_is_not_called_broken(tmp_path: Path) -> None:
    save_file({"model/weight": torch.ones(2)}, tmp_path / NAME, metadata={"key": "key", "progressed": "{}"})
    with pytest.raises(DataError, match="written by another version"):
        CheckpointFile(tmp_path, "key").load()


def test_what_is_none_is_said(tmp_path: Path) -> None:
    resume = CheckpointFile(tmp_path, "key")
    assert resume.load() is None
    layer, adam = stepped(1)
    resume.save({"model": layer.state_dict()}, adam, STATE)
    with pytest.raises(DataError, match="belongs to other settings or inputs; remove it"):
        CheckpointFile(tmp_path, "another").load()
    resume.path.write_bytes(resume.path.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"checkpoint.safetensors cannot be read .*; remove it"):
        resume.load()
