"""Both trees of a small catalogue: items with common users share leaves, items without train pairs get no code."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.trees import TreeConfig, TreesConfig, mask_untrained, semantic_codes, structural_codes

SMALL = TreesConfig(embedding_size=8, tree=TreeConfig(leaf_items=12))


def two_groups() -> Interactions:
    """Users below 40 prefer items 0-19, the others 20-39, with one pair in ten drawn from all items.

    Item 40 has one user, who has no other item; item 41 has none."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(80), 8)
    items = rng.integers(0, 20, len(users)) + 20 * (users >= 40)
    items = np.where(rng.random(len(users)) < 0.1, rng.integers(0, 40, len(users)), items)
    return Interactions.of(np.append(users, 80), np.append(items, 40), n_users=81, n_items=42)


def test_the_structural_tree_separates_groups_of_users() -> None:
    codes, notes = structural_codes(two_groups(), SMALL.model_copy(update={"embedding_size": 2}))
    assert np.flatnonzero(~codes.coded).tolist() == [40, 41]
    leaves = np.unique(codes.codes[:40], axis=0, return_inverse=True)[1]
    same_leaf = (leaves[:, None] == leaves) & ~np.eye(40, dtype=bool)
    same_group = (np.arange(40) >= 20)[:, None] == (np.arange(40) >= 20)
    assert same_group[same_leaf].mean() > 0.9
    assert same_group.mean() == 0.5
    assert notes["null vectors dropped"] == 1
    assert notes["eigenvectors"] == 2
    assert notes["item graph exact"]
    assert 0 < notes["largest eigenvalue kept"] < 1


def test_items_that_train_lacks_get_no_semantic_code(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(42, 4)).astype(np.float32)
    codes = semantic_codes(mask_untrained(vectors, two_groups()), SMALL)
    assert np.flatnonzero(~codes.coded).tolist() == [41]
    with pytest.raises(DataError, match=r"9 items.* 42"):
        mask_untrained(vectors[:9], two_groups())


def test_a_seed_gives_the_same_codes() -> None:
    one, again = (structural_codes(two_groups(), SMALL)[0].codes for _ in range(2))
    np.testing.assert_array_equal(one, again)


def test_a_train_set_without_shared_users_has_a_tree_of_nothing() -> None:
    train = Interactions.of(np.arange(3), np.arange(3), n_users=3, n_items=3)
    codes, notes = structural_codes(train, SMALL)
    assert codes.texts() == [None] * 3
    assert notes["largest eigenvalue kept"] is None
