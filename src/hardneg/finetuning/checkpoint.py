"""What unfinished tuning has to remember, beside its tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hardneg.checkpoint import CheckpointFile


@dataclass
class TuningState:
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


def save_tuning(
    resume: CheckpointFile,
    progressed: TuningState,
    trained: Mapping[str, nn.Parameter],
    adam: Optimizer,
    best: Mapping[str, Tensor],
) -> None:
    """Write what learns, Adam's moments, the best look's tensors and the progress."""
    resume.save({"now": trained, "best": best}, adam, {"progressed": asdict(progressed)})


def load_tuning(
    resume: CheckpointFile, trained: Mapping[str, nn.Parameter], adam: Optimizer
) -> tuple[TuningState, dict[str, Tensor]] | None:
    """Put back what `save_tuning` wrote; None where there is nothing to go on from."""
    saved = resume.load()
    if saved is None:
        return None
    put(trained, saved.group("now"))
    saved.restore(adam)
    return TuningState(**saved.state["progressed"]), saved.group("best")


def copy_tensors(trained: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """What learns, as it is now, in main memory."""
    return {name: value.detach().cpu().clone() for name, value in trained.items()}


def put(trained: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]) -> None:
    """Set what learns to these values."""
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(tensors[name])
