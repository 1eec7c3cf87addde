"""SmolLM2-135M, where it is present: it opens by name, and answers as a model that knows language does."""

from __future__ import annotations

import asyncio

import pytest
import torch

from hardneg.artifacts import is_artifact
from hardneg.llm.local.model import LocalModel
from hardneg.llm.names import model_source, open_model
from hardneg.llm.packages.models import folder_of
from hardneg.llm.packages.table import MODELS
from hardneg.llm.protocol import Message, Refusal, Request

MODEL = MODELS["smollm2-135m"]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not is_artifact(folder_of(MODEL)), reason="smollm2-135m is not here; run hardneg llm get smollm2-135m"
    ),
]
QUESTION = "Name one product that a customer who bought a tent, a sleeping bag and a camping stove might buy next."


def test_it_has_its_identity_and_chat_template() -> None:
    model = open_model("smollm2-135m", precision="bfloat16")
    assert isinstance(model, LocalModel)
    assert (model.name, model.identity) == ("smollm2-135m", f"{MODEL.gguf_sha256}:bfloat16")
    assert (model.context_length, model.chat_markers[:1]) == (8192, ("<empty_output>",))
    assert "messages by chat template" in model.describe()


def test_it_writes_words_about_the_question() -> None:
    model = open_model("smollm2-135m")
    assert isinstance(model, LocalModel)
    [reply] = asyncio.run(model.complete([Request((Message("user", QUESTION),), max_tokens=40)]))
    assert not isinstance(reply, Refusal)
    words = reply.text.lower().replace(".", " ").replace(",", " ").split()
    known = {"camping", "tent", "backpack", "camp", "hiking", "outdoor", "stove", "sleeping", "portable"}
    assert known & set(words), reply.text
    assert len(set(words)) > 5


def test_logits_are_finite_and_prefer_english_to_noise() -> None:
    source = model_source("smollm2-135m")
    tokenizer, model = source.tokenizer(), source.model()
    losses = []
    for text in ("The customer bought a warm winter jacket.", "jacket warm bought The winter a customer."):
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            result = model(input_ids=ids, labels=ids)
        assert torch.isfinite(result.logits).all()
        losses.append(float(result.loss))
    assert losses[0] < losses[1] - 1
