"""False negatives among named items, by hand and by a slow loop."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from diagnostics.named_negatives import FalseNegatives, false_negatives_by_way, named_false_negatives

from hardneg.data import Split
from hardneg.data.truth import Truth


def test_named_items_equal_the_slow_loop(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, truth = store
    users = rng.integers(split.train.n_users, size=300)
    items = rng.integers(-1, split.train.n_items, size=300)
    liked = []
    for user, item in zip(users, items, strict=True):
        if item >= 0:
            observed = item in split.train.items_of(user)
            liked.append(1.0 if observed else float(truth.like_probability(np.array([user]), np.array([item]))[0]))
    found = named_false_negatives(users, items, split, truth)
    assert found.count == len(liked) < 300
    assert found.share == pytest.approx(np.mean(liked), rel=1e-6)


def test_texts_outside_the_catalogue_are_not_measured(store: tuple[Split, Truth]) -> None:
    split, truth = store
    assert named_false_negatives(np.array([0, 1]), np.array([-1, -1]), split, truth) == FalseNegatives(None, 0)


def test_only_used_texts_count(store: tuple[Split, Truth]) -> None:
    split, truth = store
    train, ids = split.train, split.vocabulary.item_ids
    own = ids[train.items[3]]
    frame = pl.DataFrame({"row": [3, 4, 5], "item_id": [own, None, ids[0]], "used": [True, True, False]})
    table = false_negatives_by_way({"raw": frame, "none": frame.with_columns(used=False)}, split, truth)
    assert table.rows() == [("raw", 1.0, 1), ("none", None, 0)], "what the user has is liked for certain"
