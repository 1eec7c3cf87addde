"""Log-probabilities of continuations against a loop over single texts without a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, MistralConfig, MistralForCausalLM

from hardneg.llm.local import continuations as scoring
from hardneg.llm.local.continuations import continuation_log_probabilities
from hardneg.llm.local.forward import forward
from hardneg.llm.local.model import LocalModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import Message, Refusal, Reply, Request, continuation_request, unpack_vector

PROMPT = [1, 20, 30, 40, *range(50, 80)]
TEXTS = [[60], [200, 201, 202], [9], [60, 61], [*range(100, 115)], [60, 61, 62], [7, 7, 7, 7, 7, 7]]
TITLES = (" a tent", " red guitars", " iron saucepan with a lid", " 長い tent", " a tent for two", " 12 xylophones")


@pytest.fixture(scope="module", params=["tiny_llama", "tiny_qwen", "gpt2", "sliding"])
def model(request: pytest.FixtureRequest) -> Any:
    """GPT-2 has absolute positions; the sliding window of the last one is shorter than the prompt."""
    sizes = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        if request.param == "gpt2":
            config = GPT2Config(vocab_size=400, n_positions=128, n_embd=32, n_layer=2, n_head=2, initializer_range=0.5)
            return GPT2LMHeadModel(config).eval()
        if request.param == "sliding":
            heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "sliding_window": 8}
            return MistralForCausalLM(MistralConfig(**sizes, **heads, initializer_range=0.3)).eval()
    folder: Path = request.getfixturevalue(request.param)
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def slow(model: Any, prompt: Sequence[int], text: Sequence[int]) -> float:
    """Sum over one text of the log-probability of the next token, in one pass over the whole sequence."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *text]])).logits[0].float()
    scores = logits.log_softmax(-1)
    return sum(float(scores[len(prompt) - 1 + place, token]) for place, token in enumerate(text))


def test_equal_to_a_loop_over_single_texts(model: Any) -> None:
    result = continuation_log_probabilities(model, PROMPT, TEXTS, pad=0)
    expected = [slow(model, PROMPT, text) for text in TEXTS]
    np.testing.assert_allclose(result, expected, atol=1e-4)
    np.testing.assert_allclose(
        continuation_log_probabilities(model, [5], TEXTS, pad=0), [slow(model, [5], text) for text in TEXTS], atol=1e-4
    )


@pytest.mark.parametrize(("cached", "logits"), [(100, 2**26), (8192, 3000), (1, 1)])
def test_passes_are_bounded_and_change_nothing(
    model: Any, monkeypatch: pytest.MonkeyPatch, cached: int, logits: int
) -> None:
    whole = continuation_log_probabilities(model, PROMPT, TEXTS, pad=0)
    monkeypatch.setattr(scoring, "MAX_CACHED", cached)
    monkeypatch.setattr(scoring, "MAX_LOGITS", logits)
    shapes: list[tuple[int, int]] = []

    def counting(model: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        shapes.append((ids.shape[0], ids.shape[1]))
        return forward(model, ids, mask, **options)

    monkeypatch.setattr(scoring, "forward", counting)
    order = np.random.default_rng(0).permutation(len(TEXTS))
    parts = continuation_log_probabilities(model, PROMPT, [TEXTS[index] for index in order], pad=3)
    np.testing.assert_allclose(parts, whole[order], atol=1e-4)
    assert shapes[0] == (1, len(PROMPT))  # the prompt, once
    assert len(shapes) > 2
    assert all(rows == 1 or rows * (len(PROMPT) + width) <= cached for rows, width in shapes[1:])
    assert all(rows == 1 or rows * width * model.config.vocab_size <= logits for rows, width in shapes[1:])


def test_sums_have_more_bits_than_the_weights(tiny_llama: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_llama, dtype=torch.bfloat16).eval()
    text = [5, 6] * 400
    result = continuation_log_probabilities(model, [1], [text], pad=0)
    assert result.dtype == np.float64
    assert result[0] == pytest.approx(slow(model, [1], text), abs=1.0)  # a sum in bfloat16 would be off by 16 or so
    assert result[0] < -2000


@pytest.fixture(scope="module")
def local(tiny_llama: Path) -> LocalModel:
    return LocalModel(ModelSource(str(tiny_llama)))


def ask(model: LocalModel, *requests: Request) -> list[Reply | Refusal]:
    return asyncio.run(model.complete(requests))


def test_replies_hold_vectors_and_count_the_prompt_once(local: LocalModel) -> None:
    loaded, texts = local._loaded, [TITLES, TITLES[1:3]]
    first, second, other, written = ask(
        local,
        *(continuation_request("Bought:", titles) for titles in texts),
        continuation_request("Someone bought:", TITLES),
        Request((Message("user", "hello"),), max_tokens=3),
    )
    assert all(isinstance(reply, Reply) for reply in (first, second, other, written))
    prompt = loaded.prompts.encode_text("Bought:")
    expected = [slow(loaded.model, prompt, loaded.prompts.encode_text(title)) for title in TITLES]
    np.testing.assert_allclose(unpack_vector(first.text), expected, atol=1e-4)
    np.testing.assert_allclose(unpack_vector(second.text), expected[1:3], atol=1e-4)
    assert (np.abs(unpack_vector(other.text) - expected) > 1e-4).all()
    n_tokens = len(prompt) + sum(len(loaded.prompts.encode_text(title)) for title in TITLES)
    assert (first.usage.prompt_tokens, first.usage.answer_tokens) == (n_tokens, 0)
    assert local.count_tokens(continuation_request("Bought:", TITLES)) == n_tokens


def test_requests_with_one_prompt_share_it(local: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes: list[int] = []

    def counting(model: Any, ids: torch.Tensor, mask: torch.Tensor, **options: Any) -> Any:
        shapes.append(ids.shape[0])
        return forward(model, ids, mask, **options)

    monkeypatch.setattr(scoring, "forward", counting)
    ask(local, *(continuation_request("Bought:", [title]) for title in TITLES))
    assert shapes == [1, len(TITLES)]


def test_markers_are_plain_text(local: LocalModel) -> None:
    ids = local._encode(continuation_request("<|im_start|>system", [" <|im_end|>"]))
    assert not isinstance(ids, Refusal)
    assert not set(ids.ids + ids.continuations[0]) & local._loaded.prompts._marker_ids


@pytest.mark.parametrize(
    ("prompt", "titles", "message"),
    [("Bought:", ["a", ""], "blank"), ("", ["a"], "blank"), ("a " * 1500, [" b" * 800], "exceed the model's 2048")],
)
def test_unusable_requests_are_refused(local: LocalModel, prompt: str, titles: list[str], message: str) -> None:
    [refusal, reply] = ask(local, continuation_request(prompt, titles), continuation_request("a", [" b"]))
    assert isinstance(refusal, Refusal)
    assert message in refusal.reason
    assert isinstance(reply, Reply)
