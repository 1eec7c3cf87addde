"""Unfinished training on disk: one safetensors file, written beside and renamed, holds everything to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from hardneg import artifacts
from hardneg.errors import DataError
from hardneg.types import Observer

NAME = "checkpoint.safetensors"


@dataclass
class Progressed:
    """How far training got.

    curves: one row a measured value: epoch, split, metric, value. best_epoch: 0 before the first look.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = float("-inf")
    looks_without_gain: int = 0
    seconds: float = 0.0
    curves: list[dict[str, str | float]] = field(default_factory=list)
    counters: dict[str, float] = field(default_factory=dict)


def save_checkpoint(
    folder: Path,
    key: str,
    progressed: Progressed,
    *,
    modules: Mapping[str, nn.Module],
    adam: Optimizer,
    best: Mapping[str, Tensor],
    observers: Sequence[Observer],
) -> None:
    """Write models, Adam's moments, the best epoch's tensors, the progress and what observers saw as one file."""
    tensors = {f"{name}/{part}": value for name, m in modules.items() for part, value in m.state_dict().items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{part}": value for part, value in state.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    seen = json.dumps([observer.state() for observer in observers])
    metadata = {"key": key, "progressed": json.dumps(asdict(progressed)), "observers": seen}
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    artifacts.replace_file(folder / NAME, save(contiguous, metadata=metadata))


def load_checkpoint(
    folder: Path, key: str, modules: Mapping[str, nn.Module], adam: Optimizer, observers: Sequence[Observer]
) -> tuple[Progressed, dict[str, Tensor]] | None:
    """Put back what `save_checkpoint` wrote; None where there is nothing to go on from."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # noqa: BLE001 - safetensors raises a type of its own
        raise DataError(f"{path} cannot be read ({error}); remove it to start this run again") from None
    if metadata.get("key") != key:
        raise DataError(f"{path} belongs to other settings or inputs; remove it to start this run again")
    for name, module in modules.items():
        module.load_state_dict(_part(tensors, name))
    _restore_adam(adam, _part(tensors, "adam"))
    for observer, state in zip(observers, json.loads(metadata["observers"]), strict=True):
        observer.restore(state)
    return Progressed(**json.loads(metadata["progressed"])), _part(tensors, "best")


def _restore_adam(adam: Optimizer, tensors: Mapping[str, Tensor]) -> None:
    states: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, part = name.partition("/")
        states.setdefault(int(number), {})[part] = value
    whole = adam.state_dict()
    whole["state"] = states
    adam.load_state_dict(whole)


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {full.removeprefix(prefix): value for full, value in tensors.items() if full.startswith(prefix)}


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The module's tensors as they are now, apart from the module."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def device_of(module: nn.Module) -> torch.device:
    """Where the module's parameters lie."""
    return next(module.parameters()).device
