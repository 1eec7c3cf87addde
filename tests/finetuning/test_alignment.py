"""Rotations between spaces."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardneg.errors import DataError
from hardneg.finetuning.linear_maps import procrustes, random_rotation, rotate
from hardneg.mining.labels import mean_cosine


@given(size=st.integers(1, 12), more=st.integers(0, 40), seed=st.integers(0, 999))
def test_procrustes_recovers_a_rotation(size: int, more: int, seed: int) -> None:
    places = np.random.default_rng(seed).normal(size=(size + more, size))
    rotation = random_rotation(size, seed=seed)
    vectors = rotate(places, rotation.T)
    np.testing.assert_allclose(rotate(vectors, procrustes(vectors, places)), places, atol=1e-6)


def test_aligned_vectors_get_the_identity(rng: np.random.Generator) -> None:
    places = rng.normal(size=(30, 6)).astype(np.float32)
    np.testing.assert_allclose(procrustes(places, places), np.eye(6), atol=1e-6)
    np.testing.assert_array_equal(rotate(places, np.eye(6)), places)


def test_procrustes_is_optimal_for_noisy_copies(rng: np.random.Generator) -> None:
    places = rng.normal(size=(50, 6))
    vectors = 3 * rotate(places, random_rotation(6, seed=1)) + 0.3 * rng.normal(size=(50, 6))
    result = rotate(vectors, procrustes(vectors, places))
    assert mean_cosine(result, places) > 0.95
    assert mean_cosine(vectors, places) < 0.5
    off = np.linalg.norm(result - places)
    for seed in range(20):
        assert np.linalg.norm(rotate(vectors, random_rotation(6, seed=seed)) - places) > off


def test_rows_of_nan_are_ignored(rng: np.random.Generator) -> None:
    places, vectors = rng.normal(size=(2, 20, 4))
    before = procrustes(vectors, places)
    more_places = np.concatenate([places, np.full((3, 4), np.nan)])
    more = np.concatenate([vectors, rng.normal(size=(3, 4))])
    np.testing.assert_array_equal(procrustes(more, more_places), before)
    assert mean_cosine(more, more_places) == mean_cosine(vectors, places)
    assert np.isnan(mean_cosine(more[-3:], more_places[-3:]))


def test_too_few_rows_and_other_shapes_are_refused(rng: np.random.Generator) -> None:
    places = rng.normal(size=(20, 4))
    with pytest.raises(DataError, match=r"3 rows .* 4"):
        procrustes(places[:3], places[:3])
    with pytest.raises(DataError, match="shape"):
        procrustes(places, places[1:])


def test_a_random_rotation_keeps_inner_products_and_follows_its_seed(rng: np.random.Generator) -> None:
    rotation = random_rotation(16, seed=3)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(16), atol=1e-12)
    np.testing.assert_array_equal(rotation, random_rotation(16, seed=3))
    assert abs(rotation - random_rotation(16, seed=4)).max() > 0.1
    users, items = rng.normal(size=(2, 5, 16)).astype(np.float32)
    result = rotate(users, rotation) @ rotate(items, rotation).T
    np.testing.assert_allclose(result, users @ items.T, atol=1e-4)
    assert rotate(users.astype(np.float16), rotation).dtype == np.float16
