"""Inputs of the language model per pair."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import make_inputs

from hardneg.errors import DataError
from hardneg.finetuning import EmbeddingSpace, Template, TemplateConfig
from hardneg.finetuning.inputs import prompt_batch, prompt_lengths
from hardneg.llm.local.weights import ModelSource


def test_a_batch_holds_prompts_and_embeddings_of_its_rows(bases: Bases) -> None:
    inputs, _ = make_inputs()
    tokens = Template(ModelSource(str(bases("llama"))).tokenizer()).tokenise(inputs.user_profiles, inputs.item_profiles)
    rows = np.array([4, 0, 7])
    batch = prompt_batch(inputs, tokens, rows, torch.device("cpu"))
    for place, row in enumerate(rows):
        user, item = int(inputs.pairs.users[row]), int(inputs.pairs.items[row])
        assert batch.ids[place, : batch.lengths[place]].tolist() == tokens.ids(user, item)
        assert not batch.ids[place, batch.lengths[place] :].any()
        assert (batch.users[place].numpy() == inputs.users[user]).all()
        assert (batch.items[place].numpy() == inputs.items[item]).all()
    assert batch.lengths.tolist() == prompt_lengths(inputs, tokens, rows).tolist()


def test_missing_profiles_are_counted(bases: Bases) -> None:
    inputs, _ = make_inputs()
    tokenizer = ModelSource(str(bases("llama"))).tokenizer()
    users = np.array([not text.strip() for text in inputs.user_profiles])[inputs.pairs.users]
    items = np.array([not text.strip() for text in inputs.item_profiles])[inputs.pairs.items]
    assert 0 < (users & items).sum() < (users | items).sum()
    (entry,) = inputs.row_report(Template(tokenizer))
    assert entry.count == (users | items).sum()
    assert not inputs.has_empty_prompt(Template(tokenizer)).any()
    blind = Template(tokenizer, TemplateConfig(embeddings=False))
    assert (inputs.has_empty_prompt(blind) == (users & items)).all()
    assert [entry.count for entry in inputs.row_report(blind)] == [(users & items).sum(), (users ^ items).sum()]


def test_inputs_of_other_shapes_are_refused() -> None:
    inputs, _ = make_inputs()
    with pytest.raises(DataError, match=r"8 item profiles.* 9"):
        replace(inputs, item_profiles=inputs.item_profiles[1:])
    with pytest.raises(DataError, match="finite"):
        replace(inputs, users=np.full_like(inputs.users, np.nan))


def test_the_space_of_a_table() -> None:
    assert EmbeddingSpace.of(np.array([[3.0, 4.0], [np.nan, 0.0]])) == EmbeddingSpace(2, pytest.approx(12.5**0.5))
    assert EmbeddingSpace.of(np.zeros((2, 3))) == EmbeddingSpace(3, 1.0)
