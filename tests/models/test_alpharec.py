"""AlphaRec: the contract, a slow loop forward and backward, and limit cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.models.contract import BackboneContract
from tests.models.slow_references import backpropagate, parameters_of, slow_lightgcn
from tests.models.test_text_model import make_texts
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import AlphaRec
from hardneg.sampling import SamplerInputs, Uniform, UniformCandidates
from hardneg.text import TextVectors
from hardneg.training import FitConfig, fit_model
from hardneg.training.losses import InfoNCE, SampledSoftmax

OPTIONS = AlphaRec(embedding_size=8, hidden_size=7, hops=2)


class TestAlphaRec(BackboneContract):
    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return OPTIONS.build_with_texts(seen, make_texts(), seed=seed)


def loop_alpharec(parameters: dict[str, Tensor], texts: TextVectors, seen: Interactions, hops: int) -> Tensor:
    """Sheng et al. (2025), one node and neighbour at a time; users first."""
    rows = []
    for text in map(torch.from_numpy, np.concatenate([texts.users, texts.items]).astype(np.float64)):
        if text.isnan().any():
            rows.append(torch.zeros(8, dtype=torch.float64))
            continue
        hidden = text @ parameters["layers.weights.0"] + parameters["layers.biases.0"]
        hidden = torch.where(hidden > 0, hidden, 0.01 * hidden)
        rows.append(hidden @ parameters["layers.weights.1"] + parameters["layers.biases.1"])
    means = slow_lightgcn(seen, rows, hops)
    return torch.stack([row / row.square().sum().sqrt().clamp(min=1e-12) for row in means])


@pytest.mark.parametrize("hops", [0, 1, 2])
def test_it_equals_the_slow_loop_with_its_gradients(seen: Interactions, hops: int) -> None:
    texts = make_texts()
    model = OPTIONS.model_copy(update={"hops": hops}).build_with_texts(seen, texts, seed=4)
    for bias in model.layers.biases:
        nn.init.constant_(bias, 0.1)
    slow, made = parameters_of(model), model()
    own, expected = torch.cat([made.final_users, made.final_items]), loop_alpharec(slow, texts, seen, hops)
    torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-6)
    backpropagate(own, expected)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), slow[name].grad, rtol=1e-3, atol=1e-5)


def test_without_hops_it_is_the_layers_and_an_item_without_pairs_as_well() -> None:
    seen, texts = Interactions.of(np.arange(6), np.zeros(6, np.int64), n_users=6, n_items=12), make_texts()
    alone, model = (OPTIONS.model_copy(update={"hops": n}).build_with_texts(seen, texts, seed=4) for n in (0, 2))
    torch.testing.assert_close(alone().final_items, F.normalize(alone.texts.has_item * alone.layers(alone.texts.items)))
    torch.testing.assert_close(model().final_items[1:], alone().final_items[1:])
    assert not torch.allclose(model().final_items[0], alone().final_items[0])
    assert model().final_items[[2, 7]].abs().sum() == 0  # no text and no pairs
    model().final_items.sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_softmax_of_its_scores_is_info_nce(seen: Interactions) -> None:
    def train(loss: InfoNCE | SampledSoftmax) -> Tensor:
        model = OPTIONS.build_with_texts(seen, make_texts(), seed=4)
        sampler, config = Uniform(negatives=3), FitConfig(epochs=2, learning_rate=0.05, check_every=1, loss=loss)
        built = sampler.build(SamplerInputs(8, None, 0))
        return fit_model(model, seen, built, UniformCandidates(seen), config, validate=None).embeddings.final_items

    torch.testing.assert_close(train(SampledSoftmax(temperature=0.15)), train(InfoNCE(temperature=0.15)))
