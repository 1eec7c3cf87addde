"""Hybrid prompts, pooling and trained parameters of every model family."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import FAMILIES, make_inputs, opened, spaces_of

from hardneg.errors import ConfigError
from hardneg.finetuning import (
    EncoderConfig,
    HardNegativeEncoder,
    PairInputs,
    SynthesisConfig,
    Template,
    TemplateConfig,
    TuningConfig,
    base_model,
    open_encoder_model,
    synthesize,
)
from hardneg.finetuning.inputs import ITEM, USER, prompt_batch
from hardneg.finetuning.tuning import info_nce, tune
from hardneg.llm.local.weights import ModelSource
from hardneg.storage import read_array

ROWS = np.array([0, 9, 3, 14])


def written(
    encoder: HardNegativeEncoder, template: Template, inputs: PairInputs, rows: np.ndarray = ROWS
) -> torch.Tensor:
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    return encoder(prompt_batch(inputs, tokens, rows, encoder.device))


@pytest.mark.parametrize("family", FAMILIES)
def test_it_is_the_network_s_own_state_of_the_overwritten_prompt(bases: Bases, family: str) -> None:
    """A loop over single prompts, without padding, through the untouched network."""
    from transformers import AutoModel

    _, template, encoder, inputs, _ = opened(bases(family))
    network, expected = AutoModel.from_pretrained(bases(family)).eval(), []
    with torch.no_grad():
        for row in ROWS:
            user, item = int(inputs.pairs.users[row]), int(inputs.pairs.items[row])
            ids = [*template.prefix(inputs.user_profiles[user]), *template.suffix(inputs.item_profiles[item])]
            embed = network.get_input_embeddings()(torch.tensor([max(token, 0) for token in ids]))
            embed[ids.index(USER)] = encoder.user_head(torch.from_numpy(inputs.users[user]))
            embed[ids.index(ITEM)] = encoder.item_head(torch.from_numpy(inputs.items[item]))
            states = network(inputs_embeds=embed[None]).last_hidden_state[0]
            expected.append(states.mean(0) if family == "bert" else states[-1])
        result = written(encoder, template, inputs)
    torch.testing.assert_close(result, torch.stack(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_exactly_the_trained_parameters_change(bases: Bases, family: str) -> None:
    _, template, encoder, inputs, labels = opened(bases(family))
    before = {name: value.clone() for name, value in encoder.named_parameters()}
    trained_parameters = encoder.trained_parameters()
    targets, positives = torch.from_numpy(labels[ROWS]), torch.from_numpy(inputs.items[inputs.pairs.items[ROWS]])
    adam = torch.optim.AdamW(trained_parameters.values(), lr=1e-2)
    for _ in range(2):  # LoRA's A has no gradient before its B has moved
        adam.zero_grad()
        head = encoder.label_head
        info_nce(written(encoder, template, inputs), head(targets), head(positives), temperature=0.05).backward()
        adam.step()
    changed = {name for name, value in encoder.named_parameters() if not torch.equal(value, before[name])}
    assert changed == set(trained_parameters)
    assert all("lora" in name or "head" in name for name in changed)
    assert {name.split(".")[0] for name in changed} == {"network", "user_head", "item_head", "label_head"}
    assert sum("lora_A" in name for name in changed) == 2 * 4  # two layers, four projections


@pytest.mark.parametrize(("adapt", "learns"), [("frozen", False), ("full", True)])
def test_the_base_is_frozen_or_fully_trained(bases: Bases, adapt: str, learns: bool) -> None:
    _, template, encoder, inputs, _ = opened(bases("llama"), EncoderConfig(adapt=adapt))
    assert any(name.startswith("network.") for name in encoder.trained_parameters()) is learns
    assert written(encoder, template, inputs).shape == (4, 32)


@pytest.mark.parametrize("family", ["llama", "bert"])
def test_a_batch_changes_no_vector(bases: Bases, family: str) -> None:
    _, template, encoder, inputs, _ = opened(bases(family))
    with torch.no_grad():
        alone = torch.cat([written(encoder, template, inputs, ROWS[place : place + 1]) for place in range(4)])
        torch.testing.assert_close(written(encoder, template, inputs), alone, rtol=1e-4, atol=1e-5)


def test_embeddings_reach_the_vector_unless_left_out(bases: Bases) -> None:
    for config, uses_embeddings in ((None, True), (TemplateConfig(embeddings=False), False)):
        _, template, encoder, inputs, _ = opened(bases("llama"), template=config)
        other = PairInputs(inputs.pairs, inputs.user_profiles, inputs.item_profiles, -inputs.users, inputs.items)
        with torch.no_grad():
            result, negated = (written(encoder, template, shown) for shown in (inputs, other))
        assert torch.equal(result, negated) is not uses_embeddings


@torch.no_grad()
def test_projected_embeddings_have_the_norm_of_tokens(bases: Bases) -> None:
    _, _, encoder, inputs, labels = opened(bases("gemma"))
    tokens = encoder.inner.get_input_embeddings()(torch.arange(100)).square().mean().sqrt()
    for head, table in ((encoder.user_head, inputs.users), (encoder.item_head, inputs.items)):
        assert 0.4 < float(head(torch.from_numpy(table)).square().mean().sqrt() / tokens) < 2.5
    assert 0.4 < float(encoder.label_head(torch.from_numpy(labels)).square().mean().sqrt()) < 2.5


def test_the_same_seed_starts_the_same_and_touches_no_other(bases: Bases) -> None:
    state = torch.random.get_rng_state()
    one, two, three = (
        opened(bases("bert"), EncoderConfig(rank=4, seed=seed))[2].state_dict() for seed in (1, 1, 2)
    )  # fmt: skip
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not all(torch.equal(one[name], three[name]) for name in one)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_unknown_targets_are_refused(bases: Bases) -> None:
    with pytest.raises(ConfigError, match="up_down"):
        opened(bases("llama"), EncoderConfig(targets=("up_down",)))


def test_without_peft_the_error_names_the_extra(bases: Bases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hardneg.finetuning.model.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"hardneg\[finetune\]"):
        opened(bases("llama"))
    opened(bases("llama"), EncoderConfig(adapt="frozen"))


def test_a_type_without_known_targets_is_refused(tmp_path: Path, bases: Bases) -> None:
    from transformers import GPT2Config, GPT2Model

    folder = tmp_path / "tiny-gpt2"
    GPT2Model(GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50)).save_pretrained(folder)
    source, _, _, inputs, labels = opened(bases("llama"))
    with pytest.raises(ConfigError, match="'gpt2'"):
        open_encoder_model(type(source)(str(folder)), EncoderConfig(), spaces=spaces_of(inputs, labels))


def test_the_packaged_encoder_is_a_base() -> None:
    source = base_model()
    inputs, labels = make_inputs()
    template = Template(source.tokenizer())
    template.require_context_length(source.context_length)
    encoder = open_encoder_model(source, EncoderConfig(), spaces=spaces_of(inputs, labels))
    assert (source.name, encoder.pooling, encoder.width) == ("MiniLM", "mean", 384)
    with torch.no_grad():
        assert torch.isfinite(written(encoder, template, inputs)).all()


@pytest.mark.parametrize(("family", "reading"), [*((family, "joint") for family in FAMILIES), ("bert", "apart")])
def test_a_base_in_bfloat16_is_tuned_and_synthesizes_nearly_the_same(
    bases: Bases, tmp_path: Path, family: str, reading: Literal["joint", "apart"]
) -> None:
    inputs, labels = make_inputs()
    config, vectors = EncoderConfig(rank=4, alpha=8, reading=reading), []
    for precision in ("float32", "bfloat16"):
        source = ModelSource(str(bases(family)), precision=precision)
        template = Template(source.tokenizer())
        encoder = open_encoder_model(source, config, spaces=spaces_of(inputs, labels))
        tuned = tune(encoder, template, inputs, labels, TuningConfig(epochs=2, batch_size=8, learning_rate=1e-3))
        assert np.isfinite(tuned.state.best_value)
        (tmp_path / precision).mkdir()
        path = synthesize(encoder, template, inputs, tmp_path / precision, SynthesisConfig(), key="key")
        vectors.append(np.asarray(read_array(path), np.float32))
    assert (vectors[0] * vectors[1]).sum(1).min() > 0.98
