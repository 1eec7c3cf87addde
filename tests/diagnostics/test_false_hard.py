"""False hard negatives by cosine with test items: by loop, with known answers, and the random control."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.data import Interactions
from hardneg.diagnostics import FalseHardNegatives, false_hard, false_hard_negatives
from hardneg.errors import DataError


@pytest.fixture
def held_out_pairs(rng: np.random.Generator) -> Interactions:
    """Seven users, 30 items; user 6 has no test item."""
    users, items = np.nonzero(rng.random((6, 30)) < 0.2)
    return Interactions.of(users, items, n_users=7, n_items=30)


def world(rng: np.random.Generator, test: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """vectors, users, items: a third of the vectors near a test item of the user, a third near an item of another."""
    users = rng.integers(7, size=90)
    items = rng.normal(size=(30, 6)).astype(np.float32)
    vectors = rng.normal(size=(90, 6))
    for row in range(60):
        own = test.items_of(int(users[row])) if row < 30 else np.arange(30)
        if len(own):
            vectors[row] = 3 * items[rng.choice(own)] + rng.normal(size=6) * rng.choice([0.02, 0.5])
    vectors[::8] = np.nan
    return vectors.astype(np.float16), users, items


@pytest.mark.parametrize("comparisons", [1, 10, 65_536])
def test_it_equals_the_slow_loop(
    rng: np.random.Generator, held_out_pairs: Interactions, comparisons: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(false_hard, "COMPARISONS", comparisons)
    vectors, users, items = world(rng, held_out_pairs)
    false = []
    for vector, user in zip(vectors.astype(float), users, strict=True):
        theirs = held_out_pairs.items_of(int(user))
        if np.isnan(vector).any() or not len(theirs):
            continue
        cosines = [vector @ items[i] / np.linalg.norm(vector) / np.linalg.norm(items[i]) for i in theirs]
        false.append(max(cosines) > 0.99)
    found = false_hard_negatives(vectors, users, items, held_out_pairs, rng)
    assert found.measured == len(false)
    assert found.left_out == 90 - len(false) > 0
    assert found.share == pytest.approx(np.mean(false))
    assert 0.05 < found.share < 0.6


def test_random_vectors_are_hardly_ever_false_though_they_mean_nothing(rng: np.random.Generator) -> None:
    test = Interactions.of(np.arange(50), np.arange(50), n_users=50, n_items=50)
    items = rng.normal(size=(50, 16))
    found = false_hard_negatives(items, np.arange(50), items, test, rng)
    assert found == FalseHardNegatives(share=1.0, random=0.0, measured=50, left_out=0)


def test_the_random_control_is_counted_as_the_vectors_are(rng: np.random.Generator) -> None:
    """In one dimension every cosine is 1 or -1: half of the random vectors lie on the item."""
    test = Interactions.of(np.zeros(1), np.zeros(1), n_users=1, n_items=1)
    found = false_hard_negatives(np.ones((4000, 1)), np.zeros(4000, int), np.ones((1, 1)), test, rng)
    assert found.share == 1.0
    assert found.random == pytest.approx(0.5, abs=0.05)


def test_norms_do_not_matter_the_threshold_does(rng: np.random.Generator) -> None:
    test = Interactions.of(np.zeros(1), np.zeros(1), n_users=1, n_items=1)
    vectors = np.array([[100.0, 0.0], [1e-3, 0.0], [1.0, 0.2], [0.0, 0.0]])  # the third has cosine 0.98
    users, items = np.zeros(4, int), np.array([[2.0, 0.0]])
    assert false_hard_negatives(vectors, users, items, test, rng).share == 0.5
    assert false_hard_negatives(vectors, users, items, test, rng, threshold=0.9).share == 0.75


def test_nothing_to_measure_is_no_share(rng: np.random.Generator) -> None:
    test = Interactions.of(np.zeros(0), np.zeros(0), n_users=2, n_items=3)
    found = false_hard_negatives(np.ones((4, 2)), np.zeros(4, int), np.ones((3, 2)), test, rng)
    assert found == FalseHardNegatives(None, None, 0, 4)


def test_sizes_that_do_not_fit_are_refused(rng: np.random.Generator, held_out_pairs: Interactions) -> None:
    with pytest.raises(DataError, match="vectors of the items' size"):
        false_hard_negatives(np.ones((4, 2)), np.zeros(4, int), np.ones((30, 3)), held_out_pairs, rng)
