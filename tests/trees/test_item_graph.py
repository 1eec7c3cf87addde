"""The item graph against a slow loop, and its limits; the embedding against the full spectrum of the Laplacian."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import block_diag, csr_array

from hardneg.data import Interactions
from hardneg.trees import GraphConfig, ItemGraph, item_graph, jaccard_graph, spectral_embedding
from hardneg.trees.item_graph import _neighbour_cap


def build(train: Interactions, seed: int = 0, **limits: int) -> ItemGraph:
    return jaccard_graph(train, GraphConfig(**limits), np.random.default_rng(seed))


def slow_graph(train: Interactions) -> np.ndarray:
    """Compute w_ij from sets of users, pair by pair."""
    users = [set(train.users[train.items == item].tolist()) for item in range(train.n_items)]
    weights = np.zeros((train.n_items, train.n_items), np.float32)
    for i, one in enumerate(users):
        for j, other in enumerate(users):
            if i != j and one | other:
                weights[i, j] = len(one & other) / len(one | other)
    return weights


def random_train(seed: int, n_users: int, n_items: int, share: float) -> Interactions:
    """Draw pairs in which some items are far more popular than others."""
    rng = np.random.default_rng(seed)
    chance = share * 2 * np.arange(1, n_items + 1) / n_items
    users, items = np.nonzero(rng.random((n_users, n_items)) < chance)
    return Interactions.of(users, items, n_users=n_users, n_items=n_items)


@given(st.integers(0, 10**6), st.integers(1, 12), st.integers(1, 12), st.floats(0, 0.5))
def test_it_equals_the_slow_loop(seed: int, n_users: int, n_items: int, share: float) -> None:
    train = random_train(seed, n_users, n_items, share)
    graph = build(train)
    np.testing.assert_allclose(graph.weights.toarray(), slow_graph(train), rtol=1e-6)
    assert graph.notes()["item graph exact"]
    assert graph.notes()["item graph edges"] == np.count_nonzero(slow_graph(train)) // 2


def test_of_too_many_edges_the_strongest_of_every_item_stay() -> None:
    train = random_train(1, 60, 40, 0.2)
    whole = slow_graph(train)
    graph = build(train, most_edges=300)
    assert graph.cap is not None
    assert graph.cut_items == (np.count_nonzero(whole, axis=1) > graph.cap).sum() > 0
    found = graph.weights.toarray()
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_allclose(found[found > 0], whole[found > 0], rtol=1e-6)
    n_strongest = 0
    for item in range(40):
        strongest = np.sort(whole[item])[::-1][: graph.cap]
        own = found[item][found[item] > 0]
        assert (np.sort(own)[::-1][: len(strongest)] == strongest[: len(own)]).all()
        n_strongest += np.count_nonzero(strongest)
    assert n_strongest <= 300 <= np.minimum(np.full(40, 39), graph.cap + 1).sum()
    assert not graph.notes()["item graph exact"]


def test_an_edge_stays_if_one_end_keeps_it() -> None:
    """Item 0 is the only neighbour of all others: it keeps one edge, they keep theirs."""
    train = Interactions.of(np.repeat(np.arange(5), 2), np.array([0, 1, 0, 2, 0, 3, 0, 4, 0, 5]), n_users=5, n_items=6)
    graph = build(train, most_edges=6)
    assert graph.cap == 1
    assert graph.cut_items == 1
    np.testing.assert_allclose(graph.weights.toarray(), slow_graph(train), rtol=1e-6)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=30), st.integers(1, 400))
def test_the_cap_is_the_largest_that_fits(bounds: list[int], most: int) -> None:
    sizes = np.array(bounds)
    cap = _neighbour_cap(sizes, most)
    if cap is None:
        assert sizes.sum() <= most
    else:
        assert sizes.sum() > most
        assert np.minimum(sizes, cap + 1).sum() > most
        assert cap == 1 or np.minimum(sizes, cap).sum() <= most


def test_long_histories_are_sampled_and_counted() -> None:
    train = random_train(2, 30, 200, 0.2)
    graph = build(train, most_history=20)
    assert graph.cut_users == (train.counts > 20).sum() > 0
    again, other = build(train, most_history=20), build(train, seed=1, most_history=20)
    np.testing.assert_array_equal(graph.weights.toarray(), again.weights.toarray())
    assert (graph.weights.toarray() != other.weights.toarray()).any()
    one_user = Interactions(train.users[train.users == 3] * 0, train.items_of(3), 1, 200)
    assert build(one_user, most_history=20).notes()["item graph edges"] == 20 * 19 // 2


def test_progress_comes_to_its_end() -> None:
    seen: list[tuple[str, int, int]] = []
    jaccard_graph(
        random_train(0, 5, 9, 0.3), GraphConfig(), np.random.default_rng(0), lambda *report: seen.append(report)
    )
    assert seen == [("item graph", 9, 9)]


@pytest.mark.parametrize("n_items", [0, 3])
def test_without_pairs_there_are_no_edges(n_items: int) -> None:
    empty = np.empty(0, np.int64)
    assert build(Interactions(empty, empty, 2, n_items)).weights.shape == (n_items, n_items)


def random_graph(rng: np.random.Generator, n: int, share: float = 0.3) -> np.ndarray:
    """Draw symmetric weights, connected by a ring."""
    weights = np.triu(rng.random((n, n)) * (rng.random((n, n)) < share), 1)
    weights[np.arange(n), (np.arange(n) + 1) % n] = 0.5
    weights = np.triu(weights + weights.T, 1)
    return (weights + weights.T).astype(np.float32)


def of(weights: np.ndarray) -> csr_array:
    return csr_array(weights)


def laplacian_spectrum(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eigenpairs of I - D^-1/2 W D^-1/2, smallest first, as in the release."""
    scale = 1 / np.sqrt(weights.sum(axis=1, dtype=float))
    return np.linalg.eigh(np.eye(len(weights)) - scale[:, None] * weights * scale)


def span_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest sine between the spans of orthonormal columns."""
    return float(np.sqrt(max(0.0, 1 - np.linalg.svd(one.T @ other, compute_uv=False).min() ** 2)))


@pytest.mark.parametrize("dense", [0, 400])
def test_it_is_the_smallest_eigenpairs_of_the_laplacian_but_the_first(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, dense: int
) -> None:
    monkeypatch.setattr(item_graph, "DENSE", dense)
    weights = random_graph(rng, 90)
    values, vectors = laplacian_spectrum(weights)
    found = spectral_embedding(of(weights), 6, seed=0)
    np.testing.assert_allclose(1 - found.values, values[1:7], atol=1e-5)
    np.testing.assert_allclose(np.abs(found.points), np.abs(vectors[:, 1:7]), atol=2e-3)
    assert found.components == 1


@pytest.mark.parametrize("dense", [0, 400])
def test_every_component_loses_its_null_vector(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator, dense: int
) -> None:
    """Three components and two isolated items: three eigenvalues of 1 are left out."""
    monkeypatch.setattr(item_graph, "DENSE", dense)
    components = [random_graph(rng, n) for n in (40, 30, 20)]
    weights = np.zeros((92, 92), np.float32)
    weights[1:91, 1:91] = block_diag(components).toarray()
    found = spectral_embedding(of(weights), 5, seed=0)
    assert found.components == 3
    assert np.isnan(found.points).any(axis=1).nonzero()[0].tolist() == [0, 91]
    values, vectors = laplacian_spectrum(weights[1:91, 1:91])
    assert (values[:3] < 1e-6).all()
    np.testing.assert_allclose(1 - found.values, values[3:8], atol=1e-5)
    assert span_distance(found.points[1:91], vectors[:, 3:8]) < 2e-3
    null = np.sqrt(components[0].sum(axis=1, dtype=float))
    assert (np.abs(null / np.linalg.norm(null) @ found.points[1:41]) < 1e-5).all()


def test_outside_its_component_an_eigenvector_is_exactly_zero(rng: np.random.Generator) -> None:
    found = spectral_embedding(of(block_diag([random_graph(rng, 300), random_graph(rng, 200)]).toarray()), 8, seed=0)
    points = found.points
    for column in points.T:
        assert (column[:300] == 0).all() or (column[300:] == 0).all()


def test_signs_are_fixed_and_a_seed_gives_the_same_bits(rng: np.random.Generator) -> None:
    weights = of(random_graph(rng, 500, 0.05))
    one, repeated, other = (spectral_embedding(weights, 4, seed=seed).points for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, repeated)
    np.testing.assert_allclose(one, other, atol=5e-3)
    assert (one[np.abs(one).argmax(axis=0), np.arange(4)] > 0).all()


def test_many_equal_components_give_the_same_bits_too() -> None:
    """Components of two items: eigenvalues 1 and -1, and a Krylov space of one step."""
    weights = of(np.kron(np.eye(300), np.array([[0, 1], [1, 0]])).astype(np.float32))
    one, repeated = (spectral_embedding(weights, 32, seed=0) for _ in range(2))
    assert one.components == 300
    np.testing.assert_allclose(one.values, -1, atol=1e-4)
    np.testing.assert_array_equal(one.points, repeated.points)


def test_a_small_graph_has_fewer_eigenvectors(rng: np.random.Generator) -> None:
    assert spectral_embedding(of(random_graph(rng, 5)), 32, seed=0).points.shape == (5, 4)
    isolated = spectral_embedding(of(np.zeros((3, 3), np.float32)), 32, seed=0)
    assert (isolated.points.shape, isolated.components) == ((3, 1), 0)
    assert np.isnan(isolated.points).all()
