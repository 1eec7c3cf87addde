"""Checkpoints of unfinished training: one safetensors file with tensors, Adam's moments and the training state.

Both loops use it: training of backbones counts epochs, fine-tuning of language models counts optimizer steps.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from hardneg import artifacts, storage
from hardneg.errors import DataError
from hardneg.types import Observer

Tensors = Mapping[str, Tensor]
"""Name -> tensor."""


class KeepsMoments(Protocol):
    """An optimizer as torch's: its state dictionary has "state" -> position of a parameter -> name -> tensor."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Restore a state."""
        ...


@dataclass
class TrainingState:
    """Progress of a training loop.

    iteration: epochs (training) or optimizer steps (fine-tuning) that are finished. best_value: highest validation value
    so far. best_iteration: when it was reached; 0 before the first check. best: tensors at that time. seconds: wall time
    over all attempts, validation included. losses: of iterations since the last check. curves: rows of a metrics table.
    counters: name -> amount, summed over all steps.
    """

    best: dict[str, Tensor] = field(default_factory=dict)
    iteration: int = 0
    best_iteration: int = 0
    best_value: float = float("-inf")
    checks_without_gain: int = 0
    seconds: float = 0.0
    losses: list[float] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)

    def record_check(self, value: float, tensors: Tensors) -> None:
        """Count a validation check; copy the tensors if `value` is the highest so far."""
        self.checks_without_gain += 1
        if value > self.best_value:
            self.best_value, self.best_iteration, self.checks_without_gain = value, self.iteration, 0
            self.best = copy_tensors(tensors)


def copy_tensors(tensors: Tensors) -> dict[str, Tensor]:
    """Return copies in main memory, without gradients."""
    return {name: value.detach().cpu().clone() for name, value in tensors.items()}


@torch.no_grad()
def overwrite_tensors(tensors: Tensors, values: Tensors) -> None:
    """Copy values into tensors of the same names, in place."""
    for name, tensor in tensors.items():
        tensor.copy_(values[name])


@dataclass(frozen=True)
class CheckpointFile:
    """The checkpoint of one piece of work, identified by its key. name: of the file."""

    folder: Path
    key: str
    name: str = artifacts.CHECKPOINT

    @property
    def path(self) -> Path:
        """Path of the file."""
        return self.folder / self.name

    def save(
        self, state: TrainingState, current: Tensors, adam: KeepsMoments, observers: Sequence[Observer] = ()
    ) -> None:
        """Replace the file; equal states give equal bytes. current: all trained tensors."""
        tensors = {f"current/{name}": value for name, value in current.items()}
        tensors |= {f"best/{name}": value for name, value in state.best.items()}
        for number, moments in adam.state_dict()["state"].items():
            tensors |= {f"adam/{number}/{name}": value for name, value in moments.items()}
        progress = {name: value for name, value in vars(state).items() if name != "best"}
        observations = [observer.state() for observer in observers]
        contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        _write(self.path, {"key": self.key, "state": progress, "observers": observations}, contiguous)

    def load(self, current: Tensors, adam: KeepsMoments, observers: Sequence[Observer] = ()) -> TrainingState | None:
        """Restore the arguments from the file and return the state; None if there is no file.

        Raises DataError if the file is unreadable or belongs to another key.
        """
        if not self.path.is_file():
            return None
        saved, tensors = self._read()
        overwrite_tensors(current, _group(tensors, "current"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _group(tensors, "adam").items():
            number, _, moment = name.partition("/")
            moments.setdefault(int(number), {})[moment] = value
        adam.load_state_dict({**adam.state_dict(), "state": moments})
        for observer, observations in zip(observers, saved["observers"], strict=True):
            observer.restore(observations)
        return TrainingState(_group(tensors, "best"), **saved["state"])

    def copy(self, path: Path, *, seconds: float = 0.0) -> None:
        """Write a copy with another wall time, by default none, so that equal training gives equal bytes."""
        saved, tensors = self._read()
        saved["state"]["seconds"] = seconds
        _write(path, saved, tensors)

    def _read(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        try:
            with safe_open(self.path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        except Exception as error:  # noqa: BLE001 - safetensors raises a type of its own
            raise DataError(f"{self.path} cannot be read ({error}); remove it to start again") from None
        try:
            saved = json.loads(metadata.get("saved", "{}"))
        except ValueError as error:
            raise DataError(f"{self.path} cannot be read ({error}); remove it to start again") from None
        if "observers" not in saved or "sha256" not in saved:
            raise DataError(f"{self.path} was written by another version of hardneg; remove it to start again")
        if saved.pop("sha256") != _checksum(saved, tensors):
            raise DataError(f"{self.path} was changed or damaged after it was written; remove it to start again")
        if saved["key"] != self.key:
            raise DataError(f"{self.path} belongs to other settings or inputs; remove it to start again")
        return saved, tensors


def _write(path: Path, saved: Mapping[str, Any], tensors: Tensors) -> None:
    """Replace the file; its checksum covers the state and the tensors."""
    saved = json.loads(json.dumps(saved))  # as it is read
    # One metadata entry: safetensors writes several in random order.
    entries = {"saved": json.dumps({**saved, "sha256": _checksum(saved, tensors)})}
    storage.replace_file(path, save(dict(tensors), metadata=entries))


def _checksum(saved: Mapping[str, Any], tensors: Tensors) -> str:
    """Return the SHA-256 of the state and of the names and bytes of all tensors."""
    digest = hashlib.sha256(json.dumps(saved, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _group(tensors: Tensors, group: str) -> dict[str, Tensor]:
    prefix = f"{group}/"
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
