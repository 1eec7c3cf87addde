"""Both trees of a small store: what shares users shares its way; what train does not have gets no code."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.trees import TreeConfig, TreesConfig, mask_untrained, semantic_codes, structural_codes

SMALL = TreesConfig(embedding_size=8, tree=TreeConfig(leaf_items=12))


def two_tastes() -> Interactions:
    """Users below 40 choose among items 0-19, the others among 20-39; one in ten among all. Item 40 has one user, who
    has nothing else; item 41 has none."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 8)
    items = rng.integers(0, 20, len(users)) + 20 * (users >= 40)
    items = np.where(rng.random(len(users)) < 0.1, rng.integers(0, 40, len(users)), items)
    return Interactions.of(np.append(users, 80), np.append(items, 40), n_users=81, n_items=42)


def test_tastes_are_apart_in_the_structural_tree() -> None:
    codes, notes = structural_codes(two_tastes(), SMALL.model_copy(update={"embedding_size": 2}))
    assert np.flatnonzero(~codes.coded).tolist() == [40, 41]
    leaves = np.unique(codes.codes[:40], axis=0, return_inverse=True)[1]
    together = (leaves[:, None] == leaves) & ~np.eye(40, dtype=bool)
    alike = (np.arange(40) >= 20)[:, None] == (np.arange(40) >= 20)
    assert alike[together].mean() > 0.9
    assert alike.mean() == 0.5
    assert notes["null vectors dropped"] == 1
    assert notes["eigenvectors"] == 2
    assert notes["item graph exact"]
    assert 0 < notes["largest eigenvalue kept"] < 1


def test_items_that_train_lacks_get_no_semantic_code(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(42, 4)).astype(np.float32)
    codes = semantic_codes(mask_untrained(vectors, two_tastes()), SMALL)
    assert np.flatnonzero(~codes.coded).tolist() == [41]
    with pytest.raises(DataError, match="a run of this split"):
        mask_untrained(vectors[:9], two_tastes())


def test_a_seed_gives_the_same_codes() -> None:
    one, again = (structural_codes(two_tastes(), SMALL)[0].codes for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_a_train_set_without_shared_users_has_a_tree_of_nothing() -> None:
    train = Interactions.of(np.arange(3), np.arange(3), n_users=3, n_items=3)
    codes, notes = structural_codes(train, SMALL)
    assert codes.texts() == [None] * 3
    assert notes["largest eigenvalue kept"] is None
