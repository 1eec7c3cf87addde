"""Adam by torch's kernel, without torch's optimizer."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch
from torch import Tensor

from hardneg.training.adam import BETAS, EPSILON, Adam

RATE = 0.05


def made(seed: int) -> list[Tensor]:
    drawn = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=drawn).requires_grad_() for shape in ((7, 5), (3,), (2, 2))]


def give_gradients(parameters: list[Tensor], step: int) -> None:
    """The last parameter has a gradient in odd steps alone."""
    drawn = torch.Generator().manual_seed(100 + step)
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=drawn)
    if step % 2 == 0:
        parameters[-1].grad = None


def test_steps_are_those_of_torch_to_the_bit_also_after_a_restart() -> None:
    ours, theirs = made(0), made(0)
    adam, expected = Adam(ours, RATE), torch.optim.Adam(theirs, lr=RATE, fused=True)
    for step in range(8):
        give_gradients(ours, step)
        give_gradients(theirs, step)
        adam.step()
        expected.step()
        if step == 4:
            saved, adam = adam.state_dict(), Adam(ours, RATE)
            adam.load_state_dict(saved)
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
    assert adam.moments[2]["step"] == 4
    adam.zero_grad()
    assert all(parameter.grad is None for parameter in ours)


def test_steps_are_those_of_the_formula() -> None:
    """Algorithm 1 of Kingma and Ba (2015), number by number."""
    [parameter, *_] = made(1)
    value = parameter.detach().numpy().astype(np.float64)
    mean, square = np.zeros_like(value), np.zeros_like(value)
    adam = Adam([parameter], RATE)
    for step in range(1, 6):
        give_gradients([parameter, parameter], 2 * step + 1)
        assert parameter.grad is not None
        for place, gradient in np.ndenumerate(parameter.grad.numpy()):
            mean[place] = BETAS[0] * mean[place] + (1 - BETAS[0]) * gradient
            square[place] = BETAS[1] * square[place] + (1 - BETAS[1]) * gradient**2
            unbiased = mean[place] / (1 - BETAS[0] ** step), square[place] / (1 - BETAS[1] ** step)
            value[place] -= RATE * unbiased[0] / (np.sqrt(unbiased[1]) + EPSILON)
        adam.step()
        np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-5, atol=1e-6)


def test_training_leaves_the_compiler_of_torch_out() -> None:
    """Its modules take longer to import than a small training."""
    program = (
        "import sys, torch; from hardneg.training.adam import Adam\n"
        "p = torch.ones(2, requires_grad=True); p.sum().backward(); Adam([p], 0.1).step()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
