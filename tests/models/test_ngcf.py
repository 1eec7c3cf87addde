"""NGCF: the contract, a slow loop forward and backward, dropout, isolated nodes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.models.contract import BackboneContract, full_batch
from tests.models.slow_references import backpropagate, parameters_of
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import NGCF
from hardneg.models.noise import MessageDropout
from hardneg.types import RequiredRows, gather_rows


class TestNGCF(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return NGCF(embedding_size=8, hops=2, dropout=0.2).build(seen, seed=seed)


def loop_ngcf(parameters: dict[str, Tensor], seen: Interactions, factors: list[Tensor] | None = None) -> Tensor:
    """Wang et al. (2019), eq. 3 to 6 and 9, one node and neighbour at a time, with the bias of the release."""
    nodes = [*parameters["users"], *parameters["items"]]
    pairs = [(u, 6 + i) for u, i in zip(seen.users.tolist(), seen.items.tolist(), strict=True)]
    near: list[list[int]] = [[] for _ in nodes]
    for u, i in pairs:
        near[u].append(i)
        near[i].append(u)
    hops = [nodes]
    for layer in range(2):
        w1, w2, b = (parameters[f"layers.{layer}.{name}"] for name in ("of_sums", "of_products", "bias"))
        following = []
        for node, others in enumerate(near):
            own = hops[-1][node]
            message = own @ w1 + b
            for other in others:
                norm = 1 / np.sqrt(len(others) * len(near[other]))
                message = message + norm * (hops[-1][other] @ w1 + (hops[-1][other] * own) @ w2)
            message = torch.where(message > 0, message, 0.2 * message)
            following.append(message if factors is None else message * factors[layer][node])
        hops.append(following)
    scaled = [[row / row.square().sum().sqrt() for row in hop] for hop in hops[1:]]
    return torch.stack([torch.cat([nodes[n], *(hop[n] for hop in scaled)]) for n in range(len(nodes))])


@pytest.mark.parametrize(
    "required", [None, RequiredRows(np.array([0, 3, 5]), np.array([1, 2, 8]))], ids=["all", "some"]
)
@pytest.mark.parametrize("share", [0.0, 0.4])
@pytest.mark.parametrize("kernel", ["numba", "mkl"])
def test_it_equals_the_slow_loop_with_its_gradients(
    seen: Interactions, required: RequiredRows | None, share: float, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDNEG_KERNEL", kernel)
    model = NGCF(embedding_size=8, hops=2, dropout=share).build(seen, seed=4)
    for layer in model.layers:
        nn.init.constant_(layer.bias, 0.1)
    slow, batch = parameters_of(model), full_batch(seen)
    sides = (("users", torch.arange(6)), ("items", torch.arange(12)))
    dropout = MessageDropout(share, 4, batch)
    factors = [torch.cat([dropout.factors(rows, 8, side, hop) for side, rows in sides]).double() for hop in (1, 2)]
    made, expected = model.training_pass(batch, required).embeddings, loop_ngcf(slow, seen, factors)
    users, items = (slice(None), slice(None)) if required is None else (required.users, required.items)
    own = torch.cat([made.final_users[users], made.final_items[items]])
    rows = torch.cat([torch.arange(6)[users], 6 + torch.arange(12)[items]])
    torch.testing.assert_close(own.double(), expected[rows], rtol=1e-4, atol=1e-5)
    backpropagate(own, expected[rows])
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad.double(), slow[name].grad, rtol=1e-3, atol=1e-4)


def test_without_dropout_a_training_step_has_the_bits_of_a_call(seen: Interactions) -> None:
    model = NGCF(embedding_size=8, dropout=0).build(seen, seed=4)
    made, called = model.training_pass(full_batch(seen)).embeddings, model()
    assert torch.equal(made.final_users, called.final_users)
    assert torch.equal(made.final_items, called.final_items)


def test_dropout_keeps_the_mean_and_changes_with_the_step(seen: Interactions) -> None:
    rows = torch.arange(400)
    first = MessageDropout(0.3, 1, full_batch(seen, 1, 0)).factors(rows, 64, "items", 2)
    other = MessageDropout(0.3, 1, full_batch(seen, 1, 1)).factors(rows, 64, "items", 2)
    assert first.unique().tolist() == pytest.approx([0, 1 / 0.7])
    assert first.mean().item() == pytest.approx(1, abs=0.02)
    assert not torch.equal(first, other)


def test_a_node_without_pairs_has_finite_tables_and_gradients() -> None:
    seen = Interactions.of(np.array([0, 1]), np.array([0, 0]), n_users=2, n_items=2)
    model = NGCF(embedding_size=4, hops=2).build(seen, seed=0)
    embeddings, layer = model(), model.layers[0]
    expected = torch.nn.functional.leaky_relu(model.items[1] @ layer.of_sums, 0.2)
    torch.testing.assert_close(embeddings.items[1][1], expected / expected.norm())
    embeddings.final_items.square().sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in model.parameters())


@pytest.mark.parametrize(
    "required", [None, RequiredRows(np.array([0, 3, 5]), np.array([1, 2, 8]))], ids=["all", "some"]
)
@pytest.mark.parametrize("share", [0.0, 0.4])
def test_gradients_of_gathered_rows_of_every_hop_are_those_of_torch(
    seen: Interactions, required: RequiredRows | None, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    users, items = torch.tensor([0, 5, 3, 3, 0]), torch.tensor([[8, 1], [2, 2], [1, 8], [8, 8], [2, 1]])
    gradients = []
    for kernel in ("numba", "mkl"):
        monkeypatch.setenv("HARDNEG_KERNEL", kernel)
        model = NGCF(embedding_size=8, hops=3, dropout=share).build(seen, seed=4)
        made = model.training_pass(full_batch(seen), required).embeddings
        loss = torch.zeros(())
        for number, table in enumerate([*made.users, made.final_users]):
            loss = loss + (gather_rows(table, users) * (1 + number)).sin().sum()
        for number, table in enumerate([*made.items, made.final_items]):
            loss = loss + (gather_rows(table, items) * (2 + number)).sin().sum()
        loss.backward()
        gradients.append([parameter.grad.to_dense() for parameter in model.parameters()])
    for compiled, plain in zip(*gradients, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


def test_more_rows_than_are_computed_at_a_time(monkeypatch: pytest.MonkeyPatch, seen: Interactions) -> None:
    whole, parts = [], []
    for chunk, results in ((2048, whole), (5, parts)):
        monkeypatch.setattr("hardneg.models.ngcf_hops.CHUNK", chunk)
        model = NGCF(embedding_size=8, hops=2).build(seen, seed=4)
        made = model.training_pass(full_batch(seen)).embeddings
        (made.final_users.sin().sum() + made.final_items.sin().sum()).backward()
        results += [made.final_users, made.final_items, *(parameter.grad for parameter in model.parameters())]
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
