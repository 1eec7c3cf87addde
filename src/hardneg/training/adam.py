"""Adam without torch's compiler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import adam as torch_adam

BETAS, EPSILON = (0.9, 0.999), 1e-8


class Adam:
    """Adam (Kingma and Ba, 2015) by the kernel and with the settings of torch.optim.Adam, to the same bits.

    Creating torch.optim.Adam imports torch's compiler, which nothing here uses: 870 modules in every process that trains.
    parameters: leaf tensors; those without a gradient keep their values and moments.
    """

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float) -> None:
        self.parameters, self.learning_rate = list(parameters), learning_rate
        self.moments: dict[int, dict[str, Tensor]] = {}
        """Position of a parameter -> number of its steps, and means of its gradients and their squares."""

    def zero_grad(self) -> None:
        """Drop all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update every parameter that has a gradient, which is dense."""
        numbers = [number for number, parameter in enumerate(self.parameters) if parameter.grad is not None]
        for number in numbers:
            if number not in self.moments:
                self.moments[number] = _no_moments(self.parameters[number])
        updated = [self.parameters[number] for number in numbers]
        steps, means, squares = (
            [self.moments[number][name] for number in numbers] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch_adam.adam(
            updated,
            [parameter.grad for parameter in updated if parameter.grad is not None],
            means,
            squares,
            [],
            steps,
            fused=all(parameter.device.type == "cpu" for parameter in updated),
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the moments as torch's optimizers do: "state" -> position -> name -> tensor."""
        return {"state": self.moments}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Take over saved moments, on the devices of the parameters; numbers of steps stay in main memory."""
        self.moments = {
            number: {
                name: value if name == "step" else value.to(self.parameters[number].device)
                for name, value in moments.items()
            }
            for number, moments in saved["state"].items()
        }


def _no_moments(parameter: Tensor) -> dict[str, Tensor]:
    zeros = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
    return {"step": torch.zeros((), dtype=torch.float32), **zeros}
