"""Label probabilities against a loop over whole sequences."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from hardneg.llm.local.decoding import supports_cached_rows
from hardneg.llm.local.label_scores import log_probabilities, shared_prefix
from hardneg.llm.local.prefixes import PrefixCache

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


@contextmanager
def count_tokens(model: Any) -> Iterator[list[int]]:
    """Yield the tokens of each pass of a model."""
    n_tokens: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _, inputs, options: n_tokens.append(options.get("input_ids", *inputs[:1]).numel()), with_kwargs=True
    )
    yield n_tokens
    hook.remove()


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
def test_shared_prefix_is_computed_once(model: Any, labels: list[list[int]]) -> None:
    prefix = [1, *range(100, 145)]
    prompts = [[*prefix, 20, 30, 40], [*prefix, 7], [*prefix, 20, *range(50, 70)]]
    expected = torch.tensor([[reference(model, prompt, label) for label in labels] for prompt in prompts])
    supports_cached_rows(model)  # which passes tokens of its own
    with count_tokens(model) as n_tokens:
        scores = log_probabilities(model, prompts, labels, pad=0)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    own = 3 + 1 + 21 if supports_cached_rows(model) else 3 * 21  # without padding, or with it
    assert n_tokens[:2] == [len(prefix), own]


def test_what_a_user_s_prompts_share_is_computed_once(tiny_llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama).eval()
    rules, users = [1, *range(100, 150)], [list(range(200, 240)), list(range(240, 290))]
    prompts = [[*rules, *user, *range(10, 10 + n)] for n in (3, 5) for user in users]
    expected = torch.tensor([[reference(model, prompt, label) for label in LABELS] for prompt in prompts])
    prefixes = PrefixCache(model)
    supports_cached_rows(model)
    with count_tokens(model) as n_tokens:
        scores = log_probabilities(model, prompts, LABELS, pad=0, prefixes=prefixes)
    torch.testing.assert_close(scores, expected, atol=1e-4, rtol=1e-4)
    in_groups = 40 + 3 - 1 + 50 + 3 - 1  # users share the shorter prompt but for its last token
    assert n_tokens[:3] == [len(rules), in_groups, 2 * (1 + 3)]
    with count_tokens(model) as n_tokens:
        again = log_probabilities(model, prompts[:1], LABELS, pad=0, prefixes=prefixes)
    torch.testing.assert_close(again, expected[:1], atol=1e-4, rtol=1e-4)


def test_length_of_the_shared_prefix() -> None:
    long = list(range(40))
    assert shared_prefix([long, long]) == 39
    assert shared_prefix([long, [*long, 5]]) == 39
    assert shared_prefix([[*long, 1], [*long, 2, 3]]) == 40
    assert shared_prefix([long]) == 0
    assert shared_prefix([long[:20], long[:20]]) == 0
    assert shared_prefix([[1], long]) == 0
