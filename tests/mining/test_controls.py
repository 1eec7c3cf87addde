"""Controls lack exactly one ingredient."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from hardneg.data import Split
from hardneg.data.truth import Truth
from hardneg.mining import labels as controls
from hardneg.mining.labels import LabelVectors
from hardneg.sampling import MinedNegatives
from hardneg.sampling.mined import SCHEMA


def given_labels(split: Split, rng: np.random.Generator) -> LabelVectors:
    train = split.train
    arrays = [rng.normal(size=(n, 5)).astype(np.float32) for n in (len(train), train.n_users, train.n_items)]
    return LabelVectors(arrays[0].astype(np.float16), arrays[1], arrays[2])


@pytest.fixture
def mined(rng: np.random.Generator) -> MinedNegatives:
    """Vectors for all of twelve pairs but every fourth; pairs 1, 5 and 9 share one."""
    vectors = rng.normal(size=(12, 5)).astype(np.float16)
    vectors[::4] = np.nan
    vectors[[5, 9]] = vectors[1]
    return MinedNegatives(np.arange(12)[:, None], vectors, "made up")


def test_random_vectors_have_the_norms_of_what_they_replace(mined: MinedNegatives, rng: np.random.Generator) -> None:
    control = controls.random_control(mined, rng)
    assert (control.present == mined.present).all()
    vectors = [m.vectors[m.present].astype(np.float32) for m in (control, mined)]
    norms = [np.linalg.norm(rows, axis=1) for rows in vectors]
    np.testing.assert_allclose(*norms, rtol=2e-3)
    assert abs((np.sum(vectors[0] * vectors[1], axis=1) / norms[0] / norms[1]).mean()) < 0.5
    assert (control.items == -1).all()


def test_pairs_that_share_a_vector_share_its_replacement(mined: MinedNegatives, rng: np.random.Generator) -> None:
    vectors = controls.random_control(mined, rng).vectors
    assert (vectors[1] == vectors[5]).all()
    assert (vectors[1] == vectors[9]).all()
    assert (vectors[1] != vectors[2]).any()


def test_shuffled_permutes_whole_rows() -> None:
    vectors = np.arange(12, dtype=np.float16).reshape(4, 3)
    vectors[2] = np.nan
    result = controls.shuffled_control(
        MinedNegatives(np.array([[4], [5], [-1], [7]]), vectors, "text"), np.array([2, 0, 3, 1])
    )
    np.testing.assert_array_equal(result.vectors, vectors[[2, 0, 3, 1]])
    np.testing.assert_array_equal(result.items[:, 0], [-1, 4, 7, 5])
    np.testing.assert_array_equal(result.present, [False, True, True, True])
    assert result.source == "text, shuffled among pairs"


def test_the_shuffled_table_has_the_new_pairs(store: tuple[Split, Truth]) -> None:
    split, _ = store
    users, items = split.vocabulary.user_ids, split.vocabulary.item_ids
    row = {"row": 1, "user_id": "old", "positive_item_id": "old", "negative_text": "tent", "item_id": items[3]}
    table = pl.DataFrame([row | {"similarity": 0.5, "reasoning": "near", "source": "x"}], schema=SCHEMA)
    order = np.roll(np.arange(len(split.train)), 2)  # row 3 gets the negatives of row 1
    result = controls.shuffle_table(table, order, split.train, split.vocabulary).row(0, named=True)
    assert order[3] == 1
    assert result["row"] == 3
    assert result["user_id"] == users[split.train.users[3]]
    assert result["positive_item_id"] == items[split.train.items[3]]
    assert (result["negative_text"], result["item_id"], result["similarity"]) == ("tent", items[3], None)


def test_the_positives_control_has_unit_length(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, _ = store
    labels = given_labels(split, rng)
    result = controls.positives_control(labels, split.train)
    assert result.vectors.dtype == np.float16
    assert result.vectors.shape == (len(split.train), 5)
    for row in (0, 7, len(split.train) - 1):
        own = labels.items[split.train.items[row]]
        np.testing.assert_allclose(result.vectors[row], own / np.linalg.norm(own), atol=1e-3)
    assert (result.items == -1).all()


def test_the_labels_control_has_unit_length(store: tuple[Split, Truth], rng: np.random.Generator) -> None:
    split, _ = store
    labels = given_labels(split, rng)
    labels.vectors[3] = 0
    result = controls.labels_control(labels)
    own = labels.vectors.astype(np.float32)
    own[0] /= np.linalg.norm(own[0])
    np.testing.assert_allclose(result.vectors[0], own[0], atol=1e-3)
    assert not result.vectors[3].any()
    assert result.present.all()
