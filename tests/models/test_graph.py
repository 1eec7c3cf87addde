"""Every kernel multiplies the same graph; each is checked against a dense product."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.models import LightGCNModel
from hardneg.models.graph import Graph, normalised_adjacency
from hardneg.models.kernels import add_rows, to_half


@pytest.fixture(params=["numba", "mkl"])
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HARDNEG_KERNEL", request.param)
    return str(request.param)


@pytest.fixture
def three_threads() -> Iterator[None]:
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(1)


def pairs(n_users: int = 70, n_items: int = 50, seed: int = 0) -> Interactions:
    """A user without pairs and an item without pairs among them."""
    users, items = np.nonzero(np.random.default_rng(seed).random((n_users - 1, n_items - 1)) < 0.2)
    return Interactions.of(users, items, n_users=n_users, n_items=n_items)


def table(rows: int, size: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(seed))


def to_users(graph: Graph, items: torch.Tensor) -> torch.Tensor:
    if not graph.uses_numba(items.device):
        return graph.torch_hop(torch.zeros(graph.users.shape[0], items.shape[1]), items)[0]
    return torch.from_numpy(graph.users.product(graph.store(items.numpy())).numbers)


def to_items(graph: Graph, users: torch.Tensor) -> torch.Tensor:
    if not graph.uses_numba(users.device):
        return graph.torch_hop(users, torch.zeros(graph.items.shape[0], users.shape[1]))[1]
    return torch.from_numpy(graph.items.product(graph.store(users.numpy())).numbers)


@pytest.mark.parametrize("size", [1, 8, 16, 20, 64, 100, 144])
@pytest.mark.usefixtures("kernel")
def test_products_equal_dense_ones_at_any_size(size: int) -> None:
    """Sizes with whole vectors of 64 and 16, and a remainder."""
    train = pairs()
    dense = torch.from_numpy(normalised_adjacency(train).toarray())
    users, items = table(70, size), table(50, size)
    torch.testing.assert_close(to_users(Graph(train), items), dense @ items, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(to_items(Graph(train), users), dense.T @ users, atol=1e-5, rtol=1e-5)


def test_16_bits_round_each_number_once_and_sum_in_32() -> None:
    """The error of a sum stays below that of rounding its terms: 2^-11 of each."""
    train, items = pairs(), table(50, 64)
    dense = torch.from_numpy(normalised_adjacency(train).toarray())
    result = to_users(Graph(train, storage="float16"), items)
    bound = dense @ items.abs() * 2**-11 * 1.001 + 1e-6
    assert ((result - dense @ items).abs() <= bound).all()
    assert not torch.equal(result, to_users(Graph(train), items))


@pytest.mark.parametrize("scale", [1e-30, 1e-9, 1.0, 1e9, 1e30])
def test_16_bits_keep_their_precision_at_any_scale(scale: float) -> None:
    """Gradients of a mean over thousands of pairs are tiny; unscaled, float16 would lose them."""
    numbers = table(40, 64).numpy() * np.float32(scale)
    bits, scale_of_bits = to_half(numbers)
    assert bits.dtype == np.uint16
    restored = bits.view(np.float16).astype(np.float64) / scale_of_bits
    np.testing.assert_allclose(restored, numbers, rtol=2**-10, atol=abs(numbers).max() * 2**-20)


def test_16_bits_of_nothing_but_zeros() -> None:
    bits, scale = to_half(np.zeros((3, 16), np.float32))
    assert not bits.any()
    assert 0 < scale < np.inf


@pytest.mark.parametrize("storage", ["float32", "float16"])
def test_selected_rows_have_the_same_bits(storage: str) -> None:
    train, items = pairs(), table(50, 64)
    graph, rows = Graph(train, storage=storage), np.array([0, 3, 69])
    result, full = (graph.users.product(graph.store(items.numpy()), r).numbers for r in (rows, None))
    assert (result[rows] == full[rows]).all()
    assert np.isnan(np.delete(result[:, 0], rows)).all()


@pytest.mark.parametrize("storage", ["float32", "float16"])
@pytest.mark.usefixtures("three_threads")
def test_threads_change_no_bit_of_our_own_kernel(storage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARDNEG_KERNEL", "numba")
    train, users = pairs(), table(70, 64)
    several = to_items(Graph(train, storage=storage), users)
    torch.set_num_threads(1)
    assert torch.equal(several, to_items(Graph(train, storage=storage), users))


def test_rows_without_pairs_are_zero() -> None:
    graph = Graph(pairs())
    assert not to_users(graph, table(50, 16))[69].any()
    assert not to_items(graph, table(70, 16))[49].any()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), max_size=20), st.floats(-2, 2, width=32))
def test_rows_are_added_where_they_belong(index: list[int], weight: float) -> None:
    into, rows = np.ones((6, 3), np.float32), np.arange(3 * len(index), dtype=np.float32).reshape(-1, 3)
    expected = into.copy()
    for m, target in enumerate(index):
        expected[target] += np.float32(weight) * rows[m]
    add_rows(into, np.array(index, np.int64), rows, weight)
    np.testing.assert_allclose(into, expected, rtol=1e-6)


def test_16_bit_results_stay_within_range() -> None:
    """The scale is divided in advance by the maximum growth of a product."""
    graph = Graph(pairs(), storage="float16")
    product = graph.users.product(graph.store(np.ones((50, 64), np.float32)), keep="both")  # equal numbers grow most
    halves = product.halves.view(np.float16).astype(float)
    assert np.isfinite(halves).all()
    np.testing.assert_allclose(halves / product.scale, product.numbers, rtol=2**-10)


@pytest.mark.parametrize("size", [20, 64])
def test_the_next_product_needs_no_numbers(size: int) -> None:
    """The 16-bit form is the same with and without the 32-bit numbers."""
    graph = Graph(pairs(), storage="float16")
    both, stored = (graph.users.product(graph.store(table(50, size).numpy()), keep=keep) for keep in ("both", "stored"))
    assert (both.halves == stored.halves).all()
    np.testing.assert_allclose(both.halves.view(np.float16) / both.scale, both.numbers, rtol=2**-10, atol=1e-6)
    one, other = (graph.items.product(given).numbers for given in (both, stored))
    assert (one == other).all()


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e6])
def test_torch_rounds_to_16_bits_at_any_scale_too(scale: float) -> None:
    """Gradients of a mean are tiny on other devices too."""
    graph, items, users = Graph(pairs(), storage="float16"), table(50, 16) * scale, table(70, 16) * scale
    exact = Graph(pairs()).torch_hop(users, items)
    for result, expected in zip(graph.torch_hop(users, items), exact, strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-2, atol=1e-3 * scale)
        assert not torch.equal(result, expected)


@pytest.mark.parametrize("hops", [3, 12])
def test_16_bits_keep_their_range_over_many_hops(hops: int) -> None:
    """An item that all users have reduces the scale at every hop, although the numbers hardly grow."""
    users = np.concatenate([np.arange(400), np.arange(400)])
    items = np.concatenate([np.zeros(400, int), np.arange(1, 401)])
    train = Interactions.of(users, items, n_users=400, n_items=401)
    exact, result = (
        LightGCNModel(train, embedding_size=16, hops=hops, storage=storage)() for storage in ("float32", "float16")
    )
    error = (result.items[hops] - exact.items[hops]).norm() / exact.items[hops].norm()
    assert error < 5e-3


def test_other_numbers_than_32_bits_are_refused() -> None:
    with pytest.raises(DataError, match=r"float64.*float32"):
        LightGCNModel(pairs(), embedding_size=16).double()()


def test_infinity_does_not_turn_into_zeros() -> None:
    bits, scale = to_half(np.array([[np.inf] * 16, [1.0] * 16], np.float32))
    assert np.isnan(bits.view(np.float16).astype(float) / scale).all()


def test_a_model_can_be_copied_after_either_kernel_ran(kernel: str) -> None:
    model = LightGCNModel(pairs(), embedding_size=16)
    first = model().final_users
    assert model.graph.kernel(torch.device("cpu")) == kernel
    assert torch.equal(copy.deepcopy(model)().final_users, first)
