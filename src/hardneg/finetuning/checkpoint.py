"""Unfinished tuning on disk: one safetensors file, written beside and renamed, holds everything to go on from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim import Optimizer

from hardneg import artifacts
from hardneg.errors import DataError

NAME = "checkpoint.safetensors"


@dataclass
class Progressed:
    """How far tuning got.

    step: optimizer steps done. best_step: 0 before tuning. curves: a row each look at the held-out pairs: step, loss
    (mean since the look before), held_out_loss, information (the bound in nats). losses: since the last look.
    """

    step: int = 0
    best_step: int = 0
    best_loss: float = float("inf")
    looks_without_gain: int = 0
    losses: list[float] = field(default_factory=list)
    curves: list[dict[str, float]] = field(default_factory=list)


@dataclass(frozen=True)
class Resume:
    """Where unfinished tuning keeps its checkpoint, and under which key."""

    folder: Path
    key: str

    @property
    def path(self) -> Path:
        """The checkpoint's file."""
        return self.folder / NAME


def save_checkpoint(
    resume: Resume,
    progressed: Progressed,
    trained: Mapping[str, nn.Parameter],
    adam: Optimizer,
    best: Mapping[str, Tensor],
) -> None:
    """Write what learns, Adam's moments, the best look's tensors and the progress as one file."""
    tensors: dict[str, Tensor] = {f"now/{name}": value for name, value in trained.items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for number, state in adam.state_dict()["state"].items():
        tensors |= {f"adam/{number}/{part}": value for part, value in state.items()}
    metadata = {"key": resume.key, "progressed": json.dumps(asdict(progressed))}
    contiguous = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    artifacts.replace_file(resume.path, save(contiguous, metadata=metadata))


def load_checkpoint(
    resume: Resume, trained: Mapping[str, nn.Parameter], adam: Optimizer
) -> tuple[Progressed, dict[str, Tensor]] | None:
    """Put back what `save_checkpoint` wrote; None where there is nothing to go on from."""
    if not resume.path.is_file():
        return None
    try:
        with safe_open(resume.path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # noqa: BLE001 - safetensors raises a type of its own
        raise DataError(f"{resume.path} cannot be read ({error}); remove it to start tuning again") from None
    if metadata.get("key") != resume.key:
        raise DataError(f"{resume.path} belongs to other settings or inputs; remove it to start tuning again")
    put(trained, _part(tensors, "now"))
    whole, states = adam.state_dict(), dict[int, dict[str, Tensor]]()
    for name, value in _part(tensors, "adam").items():
        number, _, part = name.partition("/")
        states.setdefault(int(number), {})[part] = value
    adam.load_state_dict({**whole, "state": states})
    return Progressed(**json.loads(metadata["progressed"])), _part(tensors, "best")


def copied(trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What learns, as it is now, in main memory."""
    return {name: value.detach().cpu().clone() for name, value in trained.items()}


def put(trained: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Set what learns to these values."""
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(tensors[name])


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    prefix = f"{name}/"
    return {full.removeprefix(prefix): value for full, value in tensors.items() if full.startswith(prefix)}
