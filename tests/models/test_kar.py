"""KAR: the contract, a slow loop forward and backward, and limit cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from tests.models.contract import BackboneContract, full_batch
from tests.models.slow_references import backpropagate, parameters_of
from tests.models.test_backbones import loop_lightgcn
from tests.models.test_text_model import make_texts
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import KAR, MF, SGL, LightGCN, ModelConfig
from hardneg.text import TextVectors

SMALL = {"hidden_size": 6, "expert_size": 4}


class TestKAR(BackboneContract):
    hops = 2
    base: ModelConfig = LightGCN(embedding_size=8, hops=2)

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return KAR(base=self.base, **SMALL).build_with_texts(seen, make_texts(), seed=seed)


class TestKAROnMF(BackboneContract):
    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return KAR(base=MF(embedding_size=8), **SMALL).build_with_texts(seen, make_texts(), seed=seed)


class TestKAROnSGL(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        base = SGL(embedding_size=8, hops=2)
        return KAR(base=base, **SMALL).build_with_texts(seen, make_texts(), seed=seed)


def loop_kar(parameters: dict[str, Tensor], side: str, texts: np.ndarray) -> Tensor:
    """Xi et al. (2024), hybrid-expert adaptor, one node and one expert at a time; then the map to the embedding."""
    names = [f"shared.{k}" for k in range(2)] + [f"specific.{side}.{k}" for k in range(5)]
    rows = []
    for node, table in enumerate(parameters[f"base.{side}s"]):
        text = torch.from_numpy(texts[node]).double()
        if text.isnan().any():
            rows.append(table)
            continue
        gate = [f"adaptor.gates.{side}.{part}.0" for part in ("weights", "biases")]
        exponents = [torch.exp(text @ parameters[gate[0]][:, k] + parameters[gate[1]][k]) for k in range(7)]
        mixed = torch.zeros(4, dtype=torch.float64)
        for exponent, name in zip(exponents, names, strict=True):
            layers = [
                (parameters[f"adaptor.{name}.weights.{n}"], parameters[f"adaptor.{name}.biases.{n}"]) for n in (0, 1)
            ]
            hidden = text
            for weight, bias in layers:
                hidden = torch.clamp(hidden @ weight + bias, min=0)
            mixed = mixed + exponent / sum(exponents) * hidden
        rows.append(table + mixed @ parameters[f"adaptor.maps.{side}"])
    return torch.stack(rows)


def test_it_equals_the_slow_loop_with_its_gradients(seen: Interactions) -> None:
    texts = make_texts()
    model = KAR(base=MF(embedding_size=8), **SMALL).build_with_texts(seen, texts, seed=4)
    for name, parameter in model.named_parameters():
        if "biases" in name:
            nn.init.constant_(parameter, 0.2)
    slow = parameters_of(model)
    expected = torch.cat([loop_kar(slow, "user", texts.users), loop_kar(slow, "item", texts.items)])
    made = model.training_pass(full_batch(seen)).embeddings
    own = torch.cat([made.final_users, made.final_items])
    torch.testing.assert_close(own.double(), expected, rtol=1e-5, atol=1e-6)
    backpropagate(own, expected)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), slow[name].grad, rtol=1e-3, atol=1e-5)


def test_a_graph_propagates_the_adapted_texts(seen: Interactions) -> None:
    model = KAR(base=LightGCN(embedding_size=8, hops=2), **SMALL).build_with_texts(seen, make_texts(), seed=4)
    users, items = (table.detach().numpy() for table in model.start())
    expected = loop_lightgcn(users, items, seen, 2)
    np.testing.assert_allclose(model().final_users.detach(), np.mean([u for u, _ in expected], axis=0), atol=1e-6)


def test_one_expert_is_a_perceptron(seen: Interactions) -> None:
    options = KAR(base=MF(embedding_size=8), shared_experts=0, specific_experts=1, **SMALL)
    model = options.build_with_texts(seen, make_texts(), seed=4)
    adapted = model.adaptor.specific["user"][0](model.texts.users).relu() @ model.adaptor.maps["user"]
    torch.testing.assert_close(model.adaptor("user", model.texts.users), adapted)


def test_without_any_text_it_is_its_base(seen: Interactions) -> None:
    texts = make_texts()
    nothing = TextVectors(np.full_like(texts.items, np.nan), np.full_like(texts.users, np.nan), "")
    base = LightGCN(embedding_size=8)
    model, own = KAR(base=base).build_with_texts(seen, nothing, seed=4), base.build(seen, seed=4)
    assert torch.equal(model().final_items, own().final_items)
    some = KAR(base=base).build_with_texts(seen, replace(nothing, users=texts.users), seed=4)
    assert torch.equal(some.start()[1], own.items)
    assert torch.equal(some.start()[0][1], own.users[1])
    assert not torch.equal(some.start()[0][0], own.users[0])
