"""What unfinished training has to remember, beside its tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hardneg.checkpoint import CheckpointFile
from hardneg.types import Observer


@dataclass
class TrainingState:
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
    resume: CheckpointFile,
    progressed: TrainingState,
    *,
    modules: Mapping[str, nn.Module],
    adam: Optimizer,
    best: Mapping[str, Tensor],
    observers: Sequence[Observer],
) -> None:
    """Write models, Adam's moments, the best epoch's tensors, the progress and what observers saw."""
    groups = {f"now {name}": module.state_dict() for name, module in modules.items()}
    seen = [observer.state() for observer in observers]
    resume.save({**groups, "best": best}, adam, {"progressed": asdict(progressed), "observers": seen})


def load_checkpoint(
    resume: CheckpointFile, modules: Mapping[str, nn.Module], adam: Optimizer, observers: Sequence[Observer]
) -> tuple[TrainingState, dict[str, Tensor]] | None:
    """Put back what `save_checkpoint` wrote; None where there is nothing to go on from."""
    saved = resume.load()
    if saved is None:
        return None
    for name, module in modules.items():
        module.load_state_dict(saved.group(f"now {name}"))
    saved.restore(adam)
    for observer, state in zip(observers, saved.state["observers"], strict=True):
        observer.restore(state)
    return TrainingState(**saved.state["progressed"]), saved.group("best")


def copied(module: nn.Module) -> dict[str, Tensor]:
    """The module's tensors as they are now, apart from the module."""
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def device_of(module: nn.Module) -> torch.device:
    """Where the module's parameters lie."""
    return next(module.parameters()).device
