"""MF and LightGCN: the contract, and comparisons with slow reference implementations."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.models.contract import BackboneContract
from torch import nn

from hardneg.data import Interactions
from hardneg.models import MODELS, LightGCNModel, MFModel, ModelConfig
from hardneg.models.graph import normalised_adjacency
from hardneg.types import Embeddings, RequiredRows, gather_rows, pool


def plain_rows(table: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    return F.embedding(index, table)


class TestMF(BackboneContract):
    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return MFModel(seen, embedding_size=8, seed=seed)


class TestLightGCN(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return LightGCNModel(seen, embedding_size=8, hops=2, seed=seed)


class TestLightGCNIn16Bits(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return LightGCNModel(seen, embedding_size=8, hops=2, storage="float16", seed=seed)


class TestLightGCNConcatenated(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return LightGCNModel(seen, embedding_size=8, hops=2, pooling="concat", seed=seed)


def test_every_named_backbone_has_a_contract_test() -> None:
    """A test class of the contract is named Test and the name of the configuration."""
    for path in Path(__file__).parent.glob("test_*.py"):
        import_module(f"tests.models.{path.stem}")
    tested = {test.__name__ for test in BackboneContract.__subclasses__()}
    configs = {name: ModelConfig.find_class(name) for name in MODELS.names}
    assert {f"Test{config.__name__}" for config in configs.values()} <= tested
    assert all(config().kind == name for name, config in configs.items())


def loop_lightgcn(users: np.ndarray, items: np.ndarray, seen: Interactions, hops: int) -> list[tuple]:
    """He et al. (2020), eq. 3, one neighbour at a time."""
    n_u, n_i = seen.counts, seen.item_counts
    tables = [(users, items)]
    for _ in range(hops):
        next_users, next_items = np.zeros_like(users), np.zeros_like(items)
        for u, i in zip(seen.users, seen.items, strict=True):
            next_users[u] += tables[-1][1][i] / np.sqrt(n_u[u] * n_i[i])
            next_items[i] += tables[-1][0][u] / np.sqrt(n_u[u] * n_i[i])
        tables.append((next_users, next_items))
    return tables


def test_propagation_equals_the_slow_loop(seen: Interactions) -> None:
    model = LightGCNModel(seen, embedding_size=8, hops=3, seed=4)
    embeddings = model()
    expected = loop_lightgcn(model.users.detach().numpy(), model.items.detach().numpy(), seen, 3)
    for hop, (users, items) in enumerate(expected):
        np.testing.assert_allclose(embeddings.users[hop].detach(), users, atol=1e-6)
        np.testing.assert_allclose(embeddings.items[hop].detach(), items, atol=1e-6)
    np.testing.assert_allclose(embeddings.final_users.detach(), np.mean([u for u, _ in expected], axis=0), atol=1e-6)


def whole(seen: Interactions) -> torch.Tensor:
    """The bipartite graph as one dense symmetric matrix, users first."""
    above = torch.from_numpy(normalised_adjacency(seen).toarray())
    return torch.cat([torch.cat([torch.zeros(6, 6), above], 1), torch.cat([above.T, torch.zeros(12, 12)], 1)])


@pytest.mark.parametrize("pooling", ["mean", "sum", "concat", "mean-from-1"])
@pytest.mark.parametrize("through", [plain_rows, gather_rows])
def test_gradients_of_every_table_equal_those_of_dense_products(
    seen: Interactions, pooling: str, through: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
) -> None:
    """Sparse rows and whole tables, of every hop and of the pooled table at once, repeated rows included."""
    model = LightGCNModel(seen, embedding_size=8, hops=2, pooling=pooling, seed=4)
    start = torch.cat([model.users, model.items]).detach().double().requires_grad_()
    tables = [start]
    for _ in range(2):
        tables.append(whole(seen).double() @ tables[-1])
    dense = Embeddings(tuple(t[:6] for t in tables), tuple(t[6:] for t in tables), pooling)

    def loss(embeddings: Embeddings, gather: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        users, items = torch.tensor([0, 3, 3, 5]), torch.tensor([1, 1, 7, 11])
        total = (gather(embeddings.final_users, users) * gather(embeddings.final_items, items)).sum()
        for hop in range(3):
            total = total + (gather(embeddings.items[hop], items) * (hop + 1)).square().sum()
            total = total + gather(embeddings.users[hop], users).sin().sum()
        return total + embeddings.final_items.square().sum()  # a table as a whole, besides

    loss(model(), through).backward()
    loss(dense, plain_rows).backward()
    own = torch.cat([model.users.grad, model.items.grad])
    torch.testing.assert_close(own.double(), start.grad, atol=1e-5, rtol=1e-5)


def test_required_rows_are_computed_and_no_others(seen: Interactions) -> None:
    model = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)
    full, some = model(), model(RequiredRows(np.array([0, 4]), np.array([2, 3, 11])))
    for name, required in (("users", [0, 4]), ("items", [2, 3, 11])):
        for one, other in (
            (getattr(full, name)[2], getattr(some, name)[2]),
            (getattr(full, f"final_{name}"), getattr(some, f"final_{name}")),
        ):
            assert torch.equal(one[required], other[required])
            others = [row for row in range(len(one)) if row not in required]
            assert other[others, 0].isnan().all(), "rows that are not computed start with NaN"
        assert all(torch.equal(getattr(full, name)[hop], getattr(some, name)[hop]) for hop in (0, 1))


def test_own_backward_equals_that_of_a_dense_product(seen: Interactions) -> None:
    model = LightGCNModel(seen, embedding_size=8, hops=3, seed=4)
    weights = torch.linspace(-1, 1, 18 * 8).reshape(18, 8)
    embeddings = model()
    (torch.cat([embeddings.final_users, embeddings.final_items]) * weights).sum().backward()
    dense, start = whole(seen), torch.cat([model.users, model.items]).detach().requires_grad_()
    tables = [start]
    for _ in range(3):
        tables.append(dense @ tables[-1])
    (torch.stack(tables).mean(dim=0) * weights).sum().backward()
    own = torch.cat([model.users.grad, model.items.grad])
    torch.testing.assert_close(own, start.grad, atol=1e-6, rtol=1e-5)


def test_no_hop_is_matrix_factorisation(seen: Interactions) -> None:
    plain, graph = MFModel(seen, embedding_size=8, seed=5)(), LightGCNModel(seen, embedding_size=8, hops=0, seed=5)()
    assert torch.equal(plain.final_users, graph.final_users)
    assert torch.equal(plain.final_items, graph.final_items)


def test_items_without_pairs_stay_where_hop_0_puts_them() -> None:
    seen = Interactions.of(np.array([0, 1]), np.array([0, 0]), n_users=2, n_items=2)
    embeddings = LightGCNModel(seen, embedding_size=4, hops=2)()
    assert torch.equal(embeddings.items[1][1], torch.zeros(4))
    assert torch.isfinite(embeddings.final_items).all()


@pytest.mark.parametrize(("pooling", "shape"), [("mean", (3, 4)), ("sum", (3, 4)), ("concat", (3, 8))])
def test_pooling(pooling: str, shape: tuple[int, int]) -> None:
    hops = (torch.ones(3, 4), 3 * torch.ones(3, 4))
    pooled = pool(hops, pooling)
    assert pooled.shape == shape
    expected = {"mean": 2.0, "sum": 4.0}
    if pooling in expected:
        assert (pooled == expected[pooling]).all()
    else:
        assert torch.equal(pooled, torch.cat(hops, dim=1))


def test_pooled_embeddings_have_gradients_even_if_first_read_without(seen: Interactions) -> None:
    embeddings = LightGCNModel(seen, embedding_size=8, hops=1)()
    with torch.no_grad():
        first = embeddings.final_users
    assert first.requires_grad
    assert embeddings.final_users is first
