"""LLMRec: the contract, a slow reference forward and backward, missing texts, pooling, and limit cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.contract import BackboneContract, full_batch
from tests.models.slow_references import backpropagate, slow_lightgcn
from tests.models.test_rlmrec import (
    as_double,
    assert_close,
    assert_gradients,
    drawn,
    total,
    trained,
    without_texts,
)
from tests.models.test_text_model import make_texts
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import DGCF, MF, NGCF, SGL, LightGCN, LLMRec, ModelConfig, SimGCL, XSimGCL
from hardneg.random import Stream
from hardneg.sampling import MixGCF
from hardneg.text import TextVectors
from hardneg.types import Embeddings, Items, RequiredRows, Vectors, pool

BASE = LightGCN(embedding_size=8, hops=2)


def build(options: LLMRec, seen: Interactions, seed: int = 0) -> nn.Module:
    return options.build_with_texts(seen, make_texts(), seed=seed)


class TestLLMRec(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(LLMRec(base=BASE, prune=0.3), seen, seed)


class TestLLMRecOnMF(BackboneContract):
    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(LLMRec(base=MF(embedding_size=8)), seen, seed)


Rows = dict[int, Tensor]


def slow_features(seen: Interactions, slow: dict[str, Tensor]) -> dict[str, Rows]:
    """Map every text, then propagate the mapped rows, one neighbour at a time."""
    texts = make_texts()
    pairs = list(zip(seen.users.tolist(), seen.items.tolist(), strict=True))

    def mapped(table: np.ndarray, name: str) -> Rows:
        weight, bias = slow[f"features.{name}.weights.0"], slow[f"features.{name}.biases.0"]
        known = (n for n, row in enumerate(table) if np.isfinite(row).all())
        return {n: torch.from_numpy(table[n]).double() @ weight + bias for n in known}

    def spread(rows: Rows, to_users: bool) -> Rows:
        result = {n: torch.zeros(8).double() for n in range(6 if to_users else 12)}
        for user, item in pairs:
            norm = np.sqrt(seen.counts[user] * seen.item_counts[item])
            target, source = (user, item) if to_users else (item, user)
            if source in rows:
                result[target] = result[target] + rows[source] / norm
        return result

    attributes = spread(mapped(texts.items, "attribute_map"), to_users=True)
    profiles = spread(mapped(texts.users, "profile_map"), to_users=False)
    return {
        "attributes of users": attributes,
        "attributes of items": spread(attributes, to_users=False),
        "profiles of items": profiles,
        "profiles of users": spread(profiles, to_users=True),
    }


def unit(row: Tensor) -> Tensor:
    length = row.square().sum().sqrt()
    return row / length if length > 0 else row


def slow_final(seen: Interactions, slow: dict[str, Tensor], options: LLMRec) -> list[Tensor]:
    plain, features = slow_lightgcn(seen, [*slow["base.users"], *slow["base.items"]]), slow_features(seen, slow)
    final = []
    for node, row in enumerate(plain):
        side, n = ("users", node) if node < 6 else ("items", node - 6)
        profile, attribute = features[f"profiles of {side}"][n], features[f"attributes of {side}"][n]
        final.append(row + options.profile_weight * unit(profile) + options.attribute_weight * unit(attribute))
    return final


@pytest.mark.parametrize("kernel", ["numba", "mkl"])
@pytest.mark.parametrize(
    "required", [None, RequiredRows(np.array([0, 3, 5]), np.array([1, 2, 8]))], ids=["all", "some"]
)
def test_embeddings_equal_the_slow_loop_with_its_gradients(
    seen: Interactions, required: RequiredRows | None, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDNEG_KERNEL", kernel)
    options = LLMRec(base=BASE, profile_weight=0.8, attribute_weight=0.3)
    model = build(options, seen, 4)
    slow = as_double(model)
    read = model.training_pass(full_batch(seen), required).scored
    users, items = (np.arange(6), np.arange(12)) if required is None else (required.users, required.items)
    own = torch.cat([read.final_users[users], read.final_items[items]])
    final = slow_final(seen, slow, options)
    expected = torch.stack([final[n] for n in [*users.tolist(), *(6 + items).tolist()]])
    torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-5)
    backpropagate(own, expected)
    assert_gradients(model, slow)


@pytest.mark.parametrize("prune", [0.0, 0.71])
def test_the_side_loss_equals_the_slow_loop_with_its_gradients(seen: Interactions, prune: float) -> None:
    options = LLMRec(base=BASE, side_weight=0.5, prune=prune)
    model, batch, negatives = build(options, seen, 4), full_batch(seen), drawn(seen)
    slow = as_double(model)
    features = slow_features(seen, slow)
    profiles, attributes = features["profiles of users"], features["attributes of items"]
    losses = []
    for user, positive, items in zip(
        batch.users.tolist(), batch.positives.tolist(), negatives.items.tolist(), strict=True
    ):
        for item in items:
            difference = profiles[user] @ attributes[positive] - profiles[user] @ attributes[item]
            losses.append(-torch.log(torch.sigmoid(difference)))
    smallest = sorted(losses, key=Tensor.item)[: len(losses) - round(prune * len(losses))]
    expected = 0.5 * torch.stack(smallest).sum() / len(smallest)
    loss = model.training_pass(batch).auxiliary_of(negatives)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for name, parameter in model.named_parameters():
        if "features" in name:
            torch.testing.assert_close(parameter.grad.double(), slow[name].grad, rtol=1e-3, atol=1e-6)


def test_a_training_pass_has_the_final_tables_of_a_call_and_a_trained_hop_0(seen: Interactions) -> None:
    model = build(LLMRec(base=BASE), seen)
    called, computed = model(), model.training_pass(full_batch(seen))
    for read in (computed.embeddings, computed.scored):
        torch.testing.assert_close(read.final_users, called.final_users)
        torch.testing.assert_close(read.final_items, called.final_items)
    for read in (computed.embeddings, computed.scored):
        assert torch.equal(read.users[0], model.base.users)
        assert torch.equal(read.items[0], model.base.items)


@pytest.mark.parametrize(
    "base",
    [
        BASE,
        LightGCN(embedding_size=8, hops=2, pooling="sum"),
        LightGCN(embedding_size=8, hops=2, pooling="concat"),
        LightGCN(embedding_size=8, hops=2, pooling="mean-from-1"),
        MF(embedding_size=8),
        NGCF(embedding_size=8),
        DGCF(embedding_size=8),
        SGL(embedding_size=8),
        SimGCL(embedding_size=8),
        XSimGCL(embedding_size=8),
    ],
    ids=lambda base: f"{base.kind}-{getattr(base, 'pooling', '')}",
)
def test_hops_of_every_base_pool_to_the_final_embeddings(seen: Interactions, base: ModelConfig) -> None:
    model = build(LLMRec(base=base), seen)
    read = model()
    torch.testing.assert_close(pool(read.users, read.pooling), read.final_users)
    torch.testing.assert_close(pool(read.items, read.pooling), read.final_items)
    loss = total(model.training_pass(full_batch(seen)), drawn(seen))
    loss.backward()
    assert loss.isfinite()


def test_a_sampler_that_mixes_hops_mixes_side_features(seen: Interactions) -> None:
    """With the positive's share 0 and one candidate, a mixed negative is that candidate's final embedding."""
    model, batch = build(LLMRec(base=BASE), seen), full_batch(seen)
    candidates = drawn(seen).items[:, :1]
    read = model.training_pass(batch).embeddings
    sampler = MixGCF(candidates=1)
    negatives = sampler.sample(batch, read, candidates, Stream(0, "sampler", 1))
    shares = Stream(0, "sampler", 1).uniform(batch.rows.numpy(), 3)
    expected = []
    for n, (positive, item) in enumerate(zip(batch.positives, candidates[:, 0], strict=True)):
        mixed = [a * t[positive] + (1 - a) * t[item] for a, t in zip(shares[n].tolist(), read.items, strict=True)]
        expected.append(torch.stack(mixed).mean(dim=0))
    torch.testing.assert_close(negatives.vectors[:, 0], torch.stack(expected))


@pytest.mark.parametrize("base", [BASE, MF(embedding_size=8), SGL(embedding_size=8)], ids=lambda base: base.kind)
def test_with_weights_0_or_without_texts_it_trains_its_base(seen: Interactions, base: ModelConfig) -> None:
    plain = trained(base.build(seen, seed=3), seen)
    off = LLMRec(base=base, profile_weight=0, attribute_weight=0, side_weight=0)
    for model in (build(off, seen, 3), LLMRec(base=base).build_with_texts(seen, without_texts(), seed=3)):
        assert_close(trained(model, seen), plain)


def test_without_texts_the_side_loss_is_that_of_equal_scores(seen: Interactions) -> None:
    model = LLMRec(base=BASE).build_with_texts(seen, without_texts(), seed=3)
    loss = model.training_pass(full_batch(seen)).auxiliary_of(drawn(seen))
    assert loss.item() == pytest.approx(0.012 * np.log(2), rel=1e-5)


def test_negatives_that_are_no_item_have_no_side_loss(seen: Interactions) -> None:
    added = build(LLMRec(base=BASE), seen).training_pass(full_batch(seen)).auxiliary_of
    items = drawn(seen).items
    nothing = torch.zeros(*items.shape, 8)
    mixed = Vectors(nothing, nothing, torch.stack([items, items * 0], dim=2), ("hop 0", "hop 1"))
    assert added(mixed).item() == added(Items(items)).item() > 0
    assert added(replace(mixed, sources=torch.full_like(mixed.sources, -1))).item() == 0
    assert added(Items(items[:, :0])).item() == 0


def test_a_node_without_pairs_keeps_its_embedding() -> None:
    seen = Interactions.of(np.array([0, 1]), np.array([0, 0]), n_users=2, n_items=2)
    base, whole = LightGCN(embedding_size=4), make_texts()
    texts = TextVectors(whole.items[:2], whole.users[[0, 2]], "made up")
    model = LLMRec(base=base).build_with_texts(seen, texts, seed=0)
    read: Embeddings = model()
    torch.testing.assert_close(read.final_items[1], base.build(seen, seed=0)().final_items[1])
    read.final_items.square().sum().backward()
    assert all(parameter.grad is None or parameter.grad.to_dense().isfinite().all() for parameter in model.parameters())
