"""The embedding against the full spectrum of the Laplacian, without the null vectors of all components."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import block_diag, csr_array

from hardneg.trees import item_graph, spectral_embedding


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
