"""Eq. 12 compared with a loop, and cached gradients with plain ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import opened
from torch import nn

from hardneg.finetuning import EncoderConfig
from hardneg.finetuning.inputs import prompt_batch
from hardneg.finetuning.model import enable_gradient_checkpointing, seeded
from hardneg.finetuning.tuning import cached_backward, info_nce, information


def slow(queries: np.ndarray, labels: np.ndarray, positives: np.ndarray, temperature: float) -> float:
    def s(a: np.ndarray, b: np.ndarray) -> float:
        return math.exp(float(a @ b) / math.sqrt(float(a @ a) * float(b @ b)) / temperature)

    total = 0.0
    for i in range(len(queries)):
        negatives = [s(queries[i], labels[j]) for j in range(len(queries)) if j != i] + [s(queries[i], positives[i])]
        own = s(queries[i], labels[i])
        total -= math.log(own / (own + sum(negatives)))
    return total / len(queries)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_it_is_eq_12(batch: int, rng: np.random.Generator) -> None:
    queries, labels, positives = rng.normal(size=(3, batch, 5)) * 3
    result = info_nce(*map(torch.from_numpy, (queries, labels, positives)), temperature=0.3)
    assert float(result) == pytest.approx(slow(queries, labels, positives, 0.3), rel=1e-10)


def test_random_vectors_have_no_information() -> None:
    same = torch.ones(4, 3)
    assert float(info_nce(same, same, same, temperature=0.05)) == pytest.approx(math.log(5))
    assert information(math.log(5), 4) < 0
    assert information(0.0, 4) == pytest.approx(math.log(4))


@pytest.mark.parametrize("micro", [1, 3, 8, 50])
def test_cached_gradients_equal_those_of_the_whole_batch(micro: int, rng: np.random.Generator) -> None:
    inputs, labels, positives = (torch.from_numpy(x).float() for x in rng.normal(size=(3, 8, 6)))
    torch.manual_seed(0)
    model, head = nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 5)), nn.Linear(6, 5)
    parameters = [*model.parameters(), *head.parameters()]

    def loss_of(result: torch.Tensor) -> torch.Tensor:
        return info_nce(result, head(labels), head(positives), temperature=0.1)

    whole = loss_of(model(inputs))
    expected = torch.autograd.grad(whole * 0.5, parameters)
    chunks = inputs.split(micro)
    loss = cached_backward(lambda chunk: model(chunks[chunk]), len(chunks), loss_of, weight=0.5)
    assert loss == pytest.approx(whole.item(), rel=1e-6)
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("family", ["llama", "bert"])
@pytest.mark.parametrize("checkpointed", [False, True])
def test_cached_gradients_of_a_language_model_with_dropout(bases: Bases, family: str, checkpointed: bool) -> None:
    _, template, encoder, inputs, labels = opened(bases(family), EncoderConfig(rank=4, alpha=8, dropout=0.3))
    encoder.train()
    with torch.no_grad():  # LoRA starts as nothing, whatever its dropout
        for name, parameter in encoder.trained_parameters().items():
            if "lora_B" in name:
                parameter.normal_(0, 0.1, generator=torch.Generator().manual_seed(0))
    if checkpointed:
        enable_gradient_checkpointing(encoder)
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    chunks = np.split(np.arange(12), 3)
    targets = torch.from_numpy(labels[:12])
    positives = torch.from_numpy(inputs.items[inputs.pairs.items[:12]])

    def forward(chunk: int) -> torch.Tensor:
        with seeded(chunk, encoder.device):
            return encoder(prompt_batch(inputs, tokens, chunks[chunk], encoder.device))

    def loss_of(result: torch.Tensor) -> torch.Tensor:
        return info_nce(result, encoder.label_head(targets), encoder.label_head(positives), temperature=0.05)

    parameters = encoder.trained_parameters()
    expected = torch.autograd.grad(loss_of(torch.cat([forward(chunk) for chunk in range(3)])), parameters.values())
    cached_backward(forward, 3, loss_of)
    with torch.no_grad():
        assert not torch.equal(
            forward(0), encoder(prompt_batch(inputs, tokens, chunks[0], encoder.device))
        )  # dropout acts
    for (name, parameter), gradient in zip(parameters.items(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6, msg=name)
