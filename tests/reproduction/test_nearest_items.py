"""Nearest catalogue items: by loop, and known answers."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostics.nearest_items import (
    embedding_spread,
    most_similar_items,
    nearest_catalogue_items,
    popularity_percentiles,
)

from diagnostics import nearest_items
from hardneg.data import Interactions
from hardneg.errors import DataError


@pytest.fixture
def held_out(seen: Interactions) -> Interactions:
    """Of every user but 4, all that is outside train and even."""
    pairs = [(u, i) for u in (0, 1, 2, 3, 5) for i in range(0, 12, 2) if i not in seen.items_of(u)]
    users, items = np.array(pairs, np.int64).T
    return Interactions.of(users, items, n_users=6, n_items=12)


def test_it_equals_the_slow_loop(seen: Interactions, held_out: Interactions, rng: np.random.Generator) -> None:
    items = rng.normal(size=(12, 4))
    vectors = rng.normal(size=(len(seen), 4))
    vectors[:6] = 3 * items[seen.items[:6]]
    vectors[::5] = np.nan
    counts = {"positive": 0, "train": 0, "held_out": 0, "other": 0}
    nearest, places = [], []
    for row, (user, positive) in enumerate(zip(seen.users, seen.items, strict=True)):
        if np.isnan(vectors[row, 0]):
            continue
        cosines = [vectors[row] @ item / np.linalg.norm(vectors[row]) / np.linalg.norm(item) for item in items]
        found = int(np.argmax(cosines))
        nearest.append(found)
        degree = seen.item_counts
        places.append((sum(d < degree[found] for d in degree) + sum(d == degree[found] for d in degree) / 2) / 12)
        if found == positive:
            counts["positive"] += 1
        elif found in seen.items_of(user):
            counts["train"] += 1
        elif found in held_out.items_of(user):
            counts["held_out"] += 1
        else:
            counts["other"] += 1
    got = nearest_catalogue_items(vectors, seen, held_out, items)
    assert min(counts.values()) > 0, "every case occurs"
    for name, count in counts.items():
        assert getattr(got, name) == pytest.approx(count / len(nearest)), name
    assert got.popularity == pytest.approx(np.mean(places))
    assert (got.distinct, got.pairs) == (len(set(nearest)), len(nearest))
    units = [vector / np.linalg.norm(vector) for vector in vectors if not np.isnan(vector[0])]
    assert got.directions == pytest.approx(1 - np.square(np.mean(units, axis=0)).sum())


def test_one_direction_for_all_has_one_nearest_item(seen: Interactions, held_out: Interactions) -> None:
    popular = int(seen.item_counts.argmax())
    vectors = np.linspace(1, 40, len(seen))[:, None] * np.eye(12)[popular]
    got = nearest_catalogue_items(vectors, seen, held_out, np.eye(12))
    assert got.distinct == 1
    assert got.directions == pytest.approx(0.0, abs=1e-12), "whatever the norms"
    assert got.positive == pytest.approx((seen.items == popular).mean())
    assert got.popularity == pytest.approx(popularity_percentiles(seen).max())


def test_percentiles_of_equals_are_a_half(seen: Interactions) -> None:
    users, items = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    even = Interactions.of(users, items, n_users=3, n_items=5)
    assert popularity_percentiles(even).tolist() == [0.5] * 5
    assert popularity_percentiles(seen).mean() == pytest.approx(0.5)


def test_wrong_sizes_are_refused(seen: Interactions, held_out: Interactions) -> None:
    with pytest.raises(DataError, match=r"found vectors \(3, 4\)"):
        nearest_catalogue_items(np.ones((3, 4)), seen, held_out, np.ones((12, 4)))
    with pytest.raises(DataError, match="no pair has a vector"):
        nearest_catalogue_items(np.full((len(seen), 4), np.nan), seen, held_out, np.ones((12, 4)))


@pytest.mark.parametrize("block", [7, 1024])
def test_most_similar_items_equal_the_slow_loop(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(nearest_items, "BLOCK", block)
    vectors, items = rng.normal(size=(40, 5)), rng.normal(size=(25, 5)) * rng.uniform(0.1, 9, (25, 1))
    norms = np.linalg.norm(items, axis=1)
    expected = [max(range(25), key=lambda i: vector @ items[i] / norms[i]) for vector in vectors]
    assert most_similar_items(vectors, items).tolist() == expected


@pytest.mark.parametrize("block", [1, 1024])
def test_spread_by_hand(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(nearest_items, "BLOCK", block)
    assert embedding_spread(np.array([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(1.0)
    assert embedding_spread(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.5)
    assert embedding_spread(np.array([[3.0, 4.0]] * 9)) == 0.0
    assert embedding_spread(np.zeros((4, 2))) == 0.0
