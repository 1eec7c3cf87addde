"""Hidden states as vectors, against a loop over single texts."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from hardneg.llm.local.model import HiddenStatePooling, PooledModel
from hardneg.llm.local.weights import ModelSource
from hardneg.llm.protocol import Refusal, Reply, embedding_request, unpack_vector
from hardneg.types import Floats

TEXTS = ["a tent", "an iron saucepan and a guitar with steel strings", "長い", "a<|im_end|>b"]


def ask(model: PooledModel, *texts: str) -> list[Reply | Refusal]:
    return asyncio.run(model.complete([embedding_request(text) for text in texts]))


def vectors(model: PooledModel, *texts: str) -> Floats:
    return np.stack([unpack_vector(reply.text) for reply in ask(model, *texts) if isinstance(reply, Reply)])


@pytest.mark.parametrize("pooling", ["last", "mean"])
@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_qwen"])
def test_vectors_equal_the_pooled_last_layer(
    request: pytest.FixtureRequest, kind: str, pooling: HiddenStatePooling
) -> None:
    folder: Path = request.getfixturevalue(kind)
    model = PooledModel(ModelSource(str(folder)), pooling=pooling)
    network, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    expected = []
    for text in TEXTS:
        ids = tokenizer(text, return_tensors="pt", split_special_tokens=True).input_ids
        with torch.no_grad():
            states = network(ids).last_hidden_state[0]
        state = states[-1] if pooling == "last" else states.mean(0)
        expected.append((state / state.norm()).numpy())
    embedded = vectors(model, *TEXTS)
    assert embedded.shape == (4, 64)
    np.testing.assert_allclose(embedded, np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedded, axis=1), 1, atol=1e-5)


def test_long_texts_are_cut_and_blank_texts_refused(tiny_llama: Path) -> None:
    model = PooledModel(ModelSource(str(tiny_llama)), longest=8)
    text = "one two three four five six seven eight nine ten"
    first, blank, surrogate = ask(model, text, "", "a\ud800")
    assert isinstance(first, Reply)
    assert first.usage.prompt_tokens == model.count_tokens(embedding_request(text)) == 8
    assert isinstance(blank, Refusal)
    assert isinstance(surrogate, Reply)


def test_name_and_identity(tiny_llama: Path) -> None:
    source = ModelSource(str(tiny_llama))
    last, mean = PooledModel(source), PooledModel(source, pooling="mean")
    assert last.name == "tiny-llama (last)"
    assert len({last.identity, mean.identity, PooledModel(source, longest=9).identity, source.identity()}) == 4
    assert str(tiny_llama.parent) not in last.identity
