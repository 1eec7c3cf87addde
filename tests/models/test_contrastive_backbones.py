"""SGL, SimGCL and XSimGCL: the contract, slow references forward and backward, and their limit cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import BackboneContract, full_batch
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import SGL, LightGCNModel, SimGCL, XSimGCL
from hardneg.models.contrastive import contrast_views
from hardneg.models.graph import normalised_adjacency
from hardneg.models.noise import HopNoise
from hardneg.models.sgl import drop_edges, drop_nodes
from hardneg.philox import philox
from hardneg.random import Stream, generator


class TestSGL(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return SGL(embedding_size=8, hops=2, dropout=0.3).build(seen, seed=seed)


class TestSGLWithoutNodes(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return SGL(embedding_size=8, hops=2, dropout=0.3, augmentation="node-drop").build(seen, seed=seed)


class TestSGLByRandomWalks(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return SGL(embedding_size=8, hops=2, dropout=0.3, augmentation="random-walk").build(seen, seed=seed)


class TestSimGCL(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return SimGCL(embedding_size=8).build(seen, seed=seed)


class TestXSimGCL(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return XSimGCL(embedding_size=8).build(seen, seed=seed)


def loop_info_nce(one: Tensor, other: Tensor, temperature: float) -> Tensor:
    """Wu et al. (2021), eq. 10, one pair of nodes at a time."""

    def cosine(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())

    losses = []
    for i in range(len(one)):
        parts = [torch.exp(cosine(one[i], other[j]) / temperature) for j in range(len(other))]
        losses.append(-torch.log(parts[i] / torch.stack(parts).sum()))
    return torch.stack(losses).sum() / len(losses)


def dense(seen: Interactions) -> Tensor:
    above = torch.from_numpy(normalised_adjacency(seen).toarray()).double()
    return torch.cat([torch.cat([torch.zeros(6, 6), above], 1), torch.cat([above.T, torch.zeros(12, 12)], 1)])


def reference_loss(one: Tensor, other: Tensor, seen: Interactions, temperature: float) -> Tensor:
    """Distinct users and items of the batch, contrasted separately."""
    batch = full_batch(seen)
    users, items = sorted(set(batch.users.tolist())), sorted(set(batch.positives.tolist()))
    places = [6 + item for item in items]
    return loop_info_nce(one[users], other[users], temperature) + loop_info_nce(one[places], other[places], temperature)


def start_of(model: nn.Module) -> Tensor:
    return torch.cat([model.users, model.items]).detach().double().requires_grad_()


def assert_same(loss: Tensor, expected: Tensor, model: nn.Module, start: Tensor) -> None:
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    own = torch.cat([model.users.grad.to_dense(), model.items.grad.to_dense()])
    torch.testing.assert_close(own.double(), start.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_info_nce_equals_the_slow_loop_with_its_gradients(rows: int) -> None:
    rng = np.random.default_rng(1)
    tables = [torch.from_numpy(rng.normal(size=(rows, 5))).requires_grad_() for _ in range(2)]
    others = [table.detach().clone().requires_grad_() for table in tables]
    loss, expected = contrast_views(*tables, 0.3), loop_info_nce(*others, 0.3)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table.grad, other.grad)
    assert loss.item() == 0 or rows > 1


def subgraphs(seen: Interactions, augmentation: str, view: str) -> list[Interactions]:
    rng = generator(4, f"subgraph, {view}", 1)
    if augmentation == "random-walk":
        return [drop_edges(seen, 0.3, rng) for _ in range(2)]
    return [(drop_edges if augmentation == "edge-drop" else drop_nodes)(seen, 0.3, rng)] * 2


@pytest.mark.parametrize("augmentation", ["edge-drop", "node-drop", "random-walk"])
def test_sgl_equals_dense_products_and_the_slow_loss(seen: Interactions, augmentation: str) -> None:
    model = SGL(embedding_size=8, hops=2, dropout=0.3, weight=1, augmentation=augmentation).build(seen, seed=4)
    start, views = start_of(model), []
    for view in ("view 1", "view 2"):
        tables = [start]
        for graph in subgraphs(seen, augmentation, view):
            tables.append(dense(graph) @ tables[-1])
        views.append(torch.stack(tables).mean(dim=0))
    assert not torch.equal(views[0], views[1])
    assert_same(model.training_pass(full_batch(seen)).auxiliary, reference_loss(*views, seen, 0.2), model, start)


def test_sgl_without_dropout_is_lightgcn_and_the_contrastive_term_of_its_own_tables(seen: Interactions) -> None:
    model = SGL(embedding_size=8, hops=2, dropout=0, weight=0.5).build(seen, seed=4)
    plain = LightGCNModel(seen, embedding_size=8, hops=2, seed=4)()
    made = model.training_pass(full_batch(seen))
    assert torch.equal(made.embeddings.final_users, plain.final_users)
    tables = torch.cat([plain.final_users, plain.final_items]).detach().double()
    assert made.auxiliary.item() == pytest.approx(0.5 * reference_loss(tables, tables, seen, 0.2).item(), rel=1e-5)


def test_subgraphs_lack_the_share_of_pairs_or_nodes_and_change_with_view_and_epoch(seen: Interactions) -> None:
    fewer = drop_edges(seen, 0.3, generator(1, "x"))
    assert len(fewer) == len(seen) - int(0.3 * len(seen))
    assert seen.contains(fewer.users, fewer.items).all()
    lost_users, lost_items = np.zeros(6, bool), np.zeros(12, bool)
    lost_users[(rng := generator(1, "x")).permutation(6)[:3]] = True
    lost_items[rng.permutation(12)[:6]] = True
    kept = [(u, i) for u, i in zip(seen.users, seen.items, strict=True) if not (lost_users[u] or lost_items[i])]
    fewer = drop_nodes(seen, 0.5, generator(1, "x"))
    assert kept == list(zip(fewer.users, fewer.items, strict=True))
    model = SGL(embedding_size=8, dropout=0.5).build(seen, seed=0)
    losses = [model.training_pass(full_batch(seen, epoch)).auxiliary.item() for epoch in (1, 2, 1)]
    assert losses[0] == losses[2] != losses[1]


def loop_noise(row: int, size: int, key: np.uint64, epoch: int, step: int) -> list[float]:
    """SplitMix64 in Python's integers, seeded by Philox; four numbers of 16 bits from each word."""
    mask = 2**64 - 1
    state, numbers = int(philox(key, *map(np.uint64, (row, epoch, step, 0)))[0]), []
    while len(numbers) < size:
        state = (state + 0x9E3779B97F4A7C15) & mask
        word = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & mask
        word ^= word >> 31
        numbers += [((word >> (16 * part) & 0xFFFF) + 0.5) / 2**16 for part in range(4)]
    norm = math.sqrt(sum(number**2 for number in numbers[:size]))
    return [number / norm for number in numbers[:size]]


def reference_noise(table: Tensor, side: str, hop: int, view: str, length: float, seed: int) -> Tensor:
    key = Stream(seed, f"noise of {side}, hop {hop}, {view}", 1).key
    units = [loop_noise(row, table.shape[1], key, 1, 0) for row in range(len(table))]
    return length * torch.tensor(units).double() * table.detach().sign()


def noisy_tables(start: Tensor, seen: Interactions, view: str, length: float) -> list[Tensor]:
    tables = [start]
    for hop in (1, 2):
        table = dense(seen) @ tables[-1]
        noise = [
            reference_noise(part, side, hop, view, length, 4)
            for side, part in (("users", table[:6]), ("items", table[6:]))
        ]
        tables.append(table + torch.cat(noise))
    return tables


def test_simgcl_equals_the_slow_reference(seen: Interactions) -> None:
    model = SimGCL(embedding_size=7, noise=0.3, weight=1).build(seen, seed=4)
    start = start_of(model)
    views = [torch.stack(noisy_tables(start, seen, view, 0.3)[1:]).mean(dim=0) for view in ("view 1", "view 2")]
    made = model.training_pass(full_batch(seen))
    clean = dense(seen) @ start
    torch.testing.assert_close(
        made.embeddings.final_items.double(), ((clean + dense(seen) @ clean) / 2)[6:], rtol=1e-5, atol=1e-6
    )
    assert_same(made.auxiliary, reference_loss(*views, seen, 0.2), model, start)


def test_xsimgcl_equals_the_slow_reference(seen: Interactions) -> None:
    model = XSimGCL(embedding_size=8, noise=0.3, weight=1).build(seen, seed=4)
    start = start_of(model)
    tables = noisy_tables(start, seen, "view", 0.3)
    pooled = (tables[1] + tables[2]) / 2
    made = model.training_pass(full_batch(seen))
    torch.testing.assert_close(made.scored.final_users.double(), pooled[:6], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(made.embeddings.final_users, made.scored.final_users)
    weights = torch.linspace(-1, 1, 18 * 8).reshape(18, 8)
    final = torch.cat([made.scored.final_users, made.scored.final_items])
    loss = made.auxiliary + (final * weights).sum()
    assert_same(loss, reference_loss(pooled, tables[1], seen, 0.15) + (pooled * weights).sum(), model, start)


@pytest.mark.parametrize("config", [SimGCL(embedding_size=8, noise=0), XSimGCL(embedding_size=8, noise=0)])
def test_without_noise_the_views_are_the_clean_tables(seen: Interactions, config: SimGCL | XSimGCL) -> None:
    model = config.build(seen, seed=4)
    made, plain = model.training_pass(full_batch(seen)), LightGCNModel(seen, embedding_size=8, hops=2, seed=4)()
    torch.testing.assert_close(made.embeddings.final_users, (plain.users[1] + plain.users[2]) / 2)
    tables = torch.cat([made.embeddings.final_users, made.embeddings.final_items]).detach().double()
    other = tables if config.kind == "simgcl" else torch.cat([plain.users[1], plain.items[1]]).detach().double()
    expected = config.weight * reference_loss(tables, other, seen, config.temperature)
    assert made.auxiliary.item() == pytest.approx(expected.item(), rel=1e-5)
    if made.scored is not None:
        assert torch.equal(made.scored.final_users, made.embeddings.final_users)


def test_noise_has_its_length_and_the_signs_of_the_row_whatever_the_threads(
    seen: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = torch.from_numpy(np.random.default_rng(2).normal(size=(50, 9)).astype(np.float32))
    noise, tables = HopNoise(0.25, 1, "view", full_batch(seen)), []
    for threads in (1, 3):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        tables.append(table.clone())
        noise.add_to(tables[-1], "items", 2)
    assert torch.equal(*tables)
    added = tables[0] - table
    torch.testing.assert_close(added.norm(dim=1), torch.full((50,), 0.25), rtol=1e-4, atol=1e-5)
    assert (added.sign() == table.sign()).all()


def test_either_kernel_adds_the_same_noise(seen: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    losses = []
    for kernel in ("numba", "mkl"):
        monkeypatch.setenv("HARDNEG_KERNEL", kernel)
        losses.append(XSimGCL(embedding_size=8).build(seen, seed=4).training_pass(full_batch(seen)).auxiliary.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_hop_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValidationError, match="hop 3 of 2 hops"):
        XSimGCL(hop=3)
