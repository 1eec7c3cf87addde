"""Late interaction equals whole prompts under a mask, in tuning and in synthesis."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.finetuning.conftest import Bases
from tests.finetuning.tiny import DECODERS, make_inputs, opened, spaces_of

from hardneg.errors import ConfigError
from hardneg.finetuning import (
    EncoderConfig,
    HardNegativeEncoder,
    PairInputs,
    SynthesisConfig,
    Template,
    TuningConfig,
    base_model,
    open_encoder_model,
    synthesis,
)
from hardneg.finetuning import synthesize as write
from hardneg.finetuning.inputs import ITEM, USER, prompt_batch
from hardneg.finetuning.synthesis import EncodingCache, encode_pairs, shares_prefixes
from hardneg.finetuning.tuning import tune

APART = EncoderConfig(rank=4, alpha=8, reading="apart")


def masked(encoder: HardNegativeEncoder, template: Template, inputs: PairInputs, row: int) -> torch.Tensor:
    """Pass the whole prompt through every layer; mask user and item from each other except in the last."""
    user, item = int(inputs.pairs.users[row]), int(inputs.pairs.items[row])
    prefix = template.prefix(inputs.user_profiles[user])
    ids = torch.tensor([*prefix, *template.suffix(inputs.item_profiles[item])])
    network = encoder.inner
    embed = network.get_input_embeddings()(ids.clamp(min=0))
    for mark, head, vector in (
        (USER, encoder.user_head, inputs.users[user]),
        (ITEM, encoder.item_head, inputs.items[item]),
    ):
        embed[ids == mark] = head(torch.from_numpy(vector))
    places = torch.cat([torch.arange(len(prefix)), torch.arange(len(ids) - len(prefix))])
    side = torch.arange(len(ids)) < len(prefix)
    hidden = torch.where(side[:, None] == side[None, :], 0.0, -torch.inf)[None, None]
    states = network.embeddings(inputs_embeds=embed[None], position_ids=places[None])
    for layer in network.encoder.layer[:-1]:
        states = layer(states, hidden)
    return network.encoder.layer[-1](states)[0, -1]


@torch.no_grad()
def one_by_one(encoder: HardNegativeEncoder, template: Template, inputs: PairInputs) -> torch.Tensor:
    return torch.stack([masked(encoder, template, inputs, row) for row in range(len(inputs.pairs))])


@pytest.mark.parametrize("adapt", ["lora", "full"])
def test_it_is_the_masked_prompt_s_end_token(bases: Bases, adapt: str) -> None:
    _, template, encoder, inputs, _ = opened(bases("bert"), APART.model_copy(update={"adapt": adapt}))
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    with torch.no_grad():
        result = encoder(prompt_batch(inputs, tokens, np.arange(len(inputs.pairs)), encoder.device))
    torch.testing.assert_close(result, one_by_one(encoder, template, inputs), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_synthesis_gives_the_vectors_of_tuning(
    bases: Bases, monkeypatch: pytest.MonkeyPatch, batch_size: int, kept: bool
) -> None:
    if not kept:
        monkeypatch.setattr(synthesis, "MAX_CACHE_BYTES", 0)
    _, template, encoder, inputs, _ = opened(bases("bert"), APART)
    assert shares_prefixes(encoder, template)
    tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
    rows = np.random.default_rng(1).permutation(len(inputs.pairs))[:17]
    expected = torch.nn.functional.normalize(one_by_one(encoder, template, inputs), dim=1).numpy()[rows]
    for share_prefixes, bound in ((True, 1e-3), (False, 1e-5)):
        result = encode_pairs(encoder, inputs, tokens, rows, batch_size=batch_size, share_prefixes=share_prefixes)
        np.testing.assert_allclose(result, expected, atol=bound)


def test_items_are_computed_once_for_all_shards(bases: Bases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, template, encoder, inputs, _ = opened(bases("bert"), APART)
    computed: list[int] = []
    make = EncodingCache._encode

    def counted(self: EncodingCache, prompts: object, table: np.ndarray, which: np.ndarray, *, users: bool) -> object:
        computed.extend([] if users else which.tolist())
        return make(self, prompts, table, which, users=users)

    monkeypatch.setattr(EncodingCache, "_encode", counted)
    path = write(encoder, template, inputs, tmp_path, SynthesisConfig(batch_size=4, shard_rows=7))
    assert sorted(computed) == list(range(9))
    expected = torch.nn.functional.normalize(one_by_one(encoder, template, inputs), dim=1).numpy()
    np.testing.assert_allclose(np.load(path).astype(np.float32), expected, atol=2e-3)


def test_it_learns_and_every_trained_parameter_changes(bases: Bases) -> None:
    _, template, encoder, inputs, labels = opened(bases("bert"), APART.model_copy(update={"dropout": 0.0}))
    before = {name: value.clone() for name, value in encoder.trained_parameters().items()}
    config = TuningConfig(epochs=6, batch_size=8, micro_batch=4, held_out=0.2, look_every=2, learning_rate=1e-3)
    tuned = tune(encoder, template, inputs, labels, config)
    assert -tuned.state.best_value < tuned.state.curves[0]["held_out_loss"]
    assert {name for name, value in encoder.trained_parameters().items() if torch.equal(value, before[name])} == set()


def test_products_in_16_bits_change_vectors_a_little(bases: Bases) -> None:
    _, template, _, inputs, labels = opened(bases("bert"), APART)
    losses = []
    for bfloat16 in (False, True):
        _, template, encoder, *_ = opened(bases("bert"), APART)
        config = TuningConfig(epochs=2, batch_size=8, held_out=0.2, look_every=2, bfloat16=bfloat16)
        curves = tune(encoder, template, inputs, labels, config).state.curves
        losses.append([look["held_out_loss"] for look in curves])
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


@pytest.mark.parametrize("family", DECODERS[:1])
def test_a_decoder_is_refused(bases: Bases, family: str) -> None:
    inputs, labels = make_inputs()
    with pytest.raises(ConfigError, match="llama"):
        open_encoder_model(base_model(str(bases(family))), APART, spaces=spaces_of(inputs, labels))


def test_the_mean_is_refused(bases: Bases) -> None:
    inputs, labels = make_inputs()
    with pytest.raises(ConfigError, match="pooling=mean"):
        open_encoder_model(
            base_model(str(bases("bert"))),
            APART.model_copy(update={"pooling": "mean"}),
            spaces=spaces_of(inputs, labels),
        )
