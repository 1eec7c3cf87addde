"""Neighbours of items against slow loops; draws are uniform and repeatable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.edited_folders import accept_changes

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.mining.retrieval import ItemNeighbours, draw_at_random, find_by_co_occurrence, text_neighbours
from hardneg.sampling import mined
from hardneg.stage import Stage


def test_by_co_occurrence_equals_the_slow_loop(seen: Interactions) -> None:
    users = [set(seen.users[seen.items == item].tolist()) for item in range(seen.n_items)]
    result = find_by_co_occurrence(seen, 5).items
    for item in range(seen.n_items):
        cosines = {
            other: len(users[item] & users[other]) / np.sqrt(len(users[item]) * len(users[other]))
            for other in range(seen.n_items)
            if other != item and users[item] & users[other]
        }
        expected = sorted((round(value, 5) for value in cosines.values()), reverse=True)[:5]
        taken = [other for other in result[item].tolist() if other >= 0]
        assert [round(cosines[other], 5) for other in taken] == expected
        assert (result[item, len(taken) :] == -1).all()


def test_an_item_without_interactions_has_no_neighbour_by_co_occurrence() -> None:
    train = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 1]), n_users=2, n_items=4)
    assert find_by_co_occurrence(train, 2).items.tolist() == [[1, -1], [0, -1], [-1, -1], [-1, -1]]


def test_by_text_leaves_out_items_without_text(rng: np.random.Generator) -> None:
    vectors = rng.normal(size=(20, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = np.nan
    result = ItemNeighbours(text_neighbours(vectors, 3)[0], "text")
    assert (result.items[7] == -1).all()
    assert not (result.items == 7).any()
    for item in set(range(20)) - {7}:
        others = [other for other in range(20) if other not in (item, 7)]
        best = sorted(others, key=lambda other: -float(vectors[item] @ vectors[other]))[:3]
        assert result.items[item].tolist() == best


def test_random_neighbours_are_distinct_other_items(rng: np.random.Generator) -> None:
    items = draw_at_random(30, 8, rng).items
    assert items.shape == (30, 8)
    assert not (items == np.arange(30)[:, None]).any()
    assert all(len(set(row)) == 8 for row in items.tolist())
    assert len(np.unique(items)) == 30
    assert draw_at_random(3, 8, rng).items.shape == (3, 2)


def test_draws_are_uniform_over_the_neighbours() -> None:
    near = ItemNeighbours(np.array([[1, 2, 3], [0, -1, -1], [-1, -1, -1], [2, 1, -1]]), "made up")
    units = (np.arange(6000) + 0.5) / 6000
    counted = {item: np.bincount(near.draw(np.full(6000, item), units), minlength=4).tolist() for item in range(4)}
    assert counted == {0: [0, 2000, 2000, 2000], 1: [6000, 0, 0, 0], 2: [0, 0, 6000, 0], 3: [0, 3000, 3000, 0]}
    largest = np.nextafter(np.float32(1), np.float32(0))
    assert near.draw(np.array([0, 3]), np.full(2, largest, np.float32)).tolist() == [3, 1]


def test_fewer_neighbours_are_the_nearest() -> None:
    near = ItemNeighbours(np.array([[1, 2], [0, 2], [0, 1]]), "made up")
    assert near.nearest(1).items.tolist() == [[1], [0], [0]]
    with pytest.raises(ConfigError, match=r"2 .*5"):
        near.nearest(5)


def test_a_folder_is_read_back_and_another_catalogue_is_refused(tmp_path: Path) -> None:
    near = ItemNeighbours(np.array([[1, 2], [0, -1], [-1, -1]]), "made up")
    Stage(mined.NEIGHBOURS, {}, {}, lambda draft: mined.write_neighbours(draft, near)).run(tmp_path / "near")
    result = mined.read_neighbours(tmp_path / "near", 3)
    assert result.source == near.source
    np.testing.assert_array_equal(result.items, near.items)
    for n_items in (2, 4):
        with pytest.raises(DataError, match=rf"3 .* {n_items}"):
            mined.read_neighbours(tmp_path / "near", n_items)
    (tmp_path / "near" / mined.NEIGHBOURS_TABLE).write_bytes(b"no array")
    accept_changes(tmp_path / "near")
    with pytest.raises(DataError, match="no readable npy file"):
        mined.read_neighbours(tmp_path / "near", 3)
