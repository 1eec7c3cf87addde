"""Label probabilities against a loop over whole sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from hardneg.llm.local import label_scores as scoring
from hardneg.llm.local.label_scores import log_probabilities, shared_prefix

PROMPTS = [[1, 20, 30, 40], [1, 7], [1, *range(50, 90)]]
LABELS = [[60], [60, 61], [200, 201, 202], [9]]


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen", "gpt2"])
def model(request: pytest.FixtureRequest) -> Any:
    """The last one has absolute positions, so padding must not count."""
    if request.param == "gpt2":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            config = GPT2Config(vocab_size=400, n_positions=128, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5)
            return GPT2LMHeadModel(config).eval()
    folder: Path = request.getfixturevalue(request.param)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def reference(model: Any, prompt: list[int], label: list[int]) -> float:
    """Sum of log-probabilities, one token at a time, without a cache."""
    total = 0.0
    for index, token in enumerate(label):
        with torch.no_grad():
            logits = model(torch.tensor([[*prompt, *label[:index]]])).logits[0, -1]
        total += float(logits.log_softmax(0)[token])
    return total


@pytest.mark.parametrize("labels", [LABELS, LABELS[:1], [LABELS[0], LABELS[3]]])
def test_scores_are_sums_over_label_tokens(model: Any, labels: list[list[int]]) -> None:
    scores = log_probabilities(model, PROMPTS, labels, pad=0)
    expected = torch.tensor([[reference(model, prompt, label) for label in labels] for prompt in PROMPTS])
    assert scores.shape == (len(PROMPTS), len(labels))
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("labels", [LABELS, LABELS[:1]])
def test_shared_prefix_is_computed_once(model: Any, labels: list[list[int]], monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = [1, *range(100, 145)]
    prompts = [[*prefix, 20, 30, 40], [*prefix, 7], [*prefix, 20, *range(50, 70)]]
    expected = torch.tensor([[reference(model, prompt, label) for label in labels] for prompt in prompts])
    n_tokens: list[int] = []
    forward = scoring.forward

    def counting(model: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        n_tokens.append(ids.numel())
        return forward(model, ids, mask, **options)

    monkeypatch.setattr(scoring, "forward", counting)
    scores = log_probabilities(model, prompts, labels, pad=0)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    assert n_tokens[:2] == [len(prefix), 3 * 21]


def test_length_of_the_shared_prefix() -> None:
    long = list(range(40))
    assert shared_prefix([long, long]) == 39
    assert shared_prefix([long, [*long, 5]]) == 39
    assert shared_prefix([[*long, 1], [*long, 2, 3]]) == 40
    assert shared_prefix([long]) == 0
    assert shared_prefix([long[:20], long[:20]]) == 0
    assert shared_prefix([[1], long]) == 0
