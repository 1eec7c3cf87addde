"""Controls keep the vectors, or take them from the labels, and lose what they are meant to lose."""

from __future__ import annotations

import numpy as np
import polars as pl

from hardneg.data import Split
from hardneg.data.truth import Truth
from hardneg.mining import controls
from hardneg.mining.labels import Labels
from hardneg.sampling import MinedNegatives
from hardneg.sampling.mined import SCHEMA


def given_labels(split: Split, rng: np.random.Generator) -> Labels:
    train = split.train
    made = [rng.normal(size=(n, 5)).astype(np.float32) for n in (len(train), train.n_users, train.n_items)]
    return Labels(made[0].astype(np.float16), made[1], made[2], "run")


def test_shuffled_moves_whole_rows_and_loses_none() -> None:
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    vectors[2] = np.nan
    found = controls.shuffled(MinedNegatives(np.array([[4], [5], [-1], [7]]), vectors, "text"), np.array([2, 0, 3, 1]))
    np.testing.assert_array_equal(found.vectors, vectors[[2, 0, 3, 1]])
    np.testing.assert_array_equal(found.items[:, 0], [-1, 4, 7, 5])
    np.testing.assert_array_equal(found.present, [False, True, True, True])
    assert found.source == "text, shuffled among pairs"


def test_the_shuffled_table_says_whose_pair_it_is_now(store: tuple[Split, Truth]) -> None:
    split, _ = store
    users, items = split.vocabulary.user_ids, split.vocabulary.item_ids
    row = {"row": 1, "user_id": "old", "positive_item_id": "old", "negative_text": "tent", "item_id": items[3]}
    table = pl.DataFrame([row | {"similarity": 0.5, "reasoning": "near", "source": "x"}], schema=SCHEMA)
    order = np.roll(np.arange(len(split.train)), 2)  # row 3 gets what row 1 had
    found = controls.shuffled_table(table, order, split.train, split.vocabulary).row(0, named=True)
    assert order[3] == 1
    assert found["row"] == 3
    assert found["user_id"] == users[split.train.users[3]]
    assert found["positive_item_id"] == items[split.train.items[3]]
    assert (found["negative_text"], found["item_id"], found["similarity"]) == ("tent", items[3], None)


def test_positives_are_the_pair_s_own_item_at_length_one(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, _ = store
    labels = given_labels(split, rng)
    found = controls.positives_control(labels, split.train)
    assert found.vectors.dtype == np.float16
    assert found.vectors.shape == (len(split.train), 5)
    for row in (0, 7, len(split.train) - 1):
        own = labels.items[split.train.items[row]]
        np.testing.assert_allclose(found.vectors[row], own / np.linalg.norm(own), atol=1e-3)
    assert (found.items == -1).all()


def test_labels_are_the_labels_at_length_one(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, _ = store
    labels = given_labels(split, rng)
    labels.vectors[3] = 0
    found = controls.labels_control(labels)
    own = labels.vectors.astype(np.float32)
    own[0] /= np.linalg.norm(own[0])
    np.testing.assert_allclose(found.vectors[0], own[0], atol=1e-3)
    assert not found.vectors[3].any()
    assert found.present.all()
