"""Retrieval against a slow loop, with rejected items."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hardneg.data import Interactions, Vocabulary
from hardneg.errors import DataError
from hardneg.mining import RetrievalConfig
from hardneg.mining.retrieval import REASONS, retrieve_items, tabulate_retrieval, text_neighbours
from hardneg.sampling import mined
from hardneg.stage import Stage


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def vectors() -> tuple[np.ndarray, np.ndarray]:
    """Item and profile vectors; item 2 nearly repeats item 1, item 11 and user 3 have no text."""
    rng = np.random.default_rng(1)
    items, users = unit(rng.normal(size=(12, 6))), unit(rng.normal(size=(6, 6)))
    items[2] = unit(items[1:2] + 0.05 * rng.normal(size=(1, 6)))[0]
    items[11] = users[3] = np.nan
    return items, users


def loop_retrieve(
    seen: Interactions, items: np.ndarray, users: np.ndarray, options: RetrievalConfig
) -> tuple[dict, set]:
    """One pair at a time; returns the items of each pair, and rejected (row, item, reason)."""
    chosen, refused = {}, set()
    for row, (user, positive) in enumerate(zip(seen.users, seen.items, strict=True)):
        others = [i for i in range(12) if i != positive and not np.isnan(items[i, 0])]
        if np.isnan(items[positive, 0]):
            others = []
        pool = sorted(others, key=lambda i: (-(items[positive] @ items[i]), i))[: options.pool]
        share = 0.0 if np.isnan(users[user, 0]) else options.profile_share
        fit = {i: share * float(np.nan_to_num(users[user]) @ items[i]) for i in pool}
        score = {i: (1 - share) * float(items[positive] @ items[i]) + fit[i] for i in pool}
        chosen[row] = []
        for item in sorted(pool, key=lambda i: -score[i]):
            if len(chosen[row]) == options.n:
                break
            if item in seen.items_of(user):
                refused.add((row, item, REASONS[1]))
            elif items[positive] @ items[item] >= options.duplicate:
                refused.add((row, item, REASONS[2]))
            else:
                chosen[row].append(item)
    return chosen, refused


@pytest.mark.parametrize(
    "options", [RetrievalConfig(pool=6), RetrievalConfig(n=2, pool=9, profile_share=0.2), RetrievalConfig(pool=3)]
)
def test_retrieval_equals_the_slow_loop(
    seen: Interactions, vectors: tuple[np.ndarray, np.ndarray], options: RetrievalConfig
) -> None:
    result = retrieve_items(seen, seen, *vectors, options)
    assert result.items.shape == (len(seen), options.n)
    chosen, refused = loop_retrieve(seen, *vectors, options)
    for row, items in chosen.items():
        assert [i for i in result.items[row] if i >= 0] == items
    assert {(row, item, reason) for row, item, _, reason in result.rejected.iter_rows()} == refused
    assert refused


def test_neighbours_are_the_nearest_others(vectors: tuple[np.ndarray, np.ndarray]) -> None:
    neighbours, nearness = text_neighbours(vectors[0], 4)
    assert neighbours.shape == nearness.shape == (12, 4)
    assert neighbours[1, 0] == 2
    assert nearness[1, 0] > RetrievalConfig().duplicate
    assert (neighbours[11] == -1).all()
    assert 11 not in neighbours
    assert (np.diff(nearness[:11], axis=1) <= 0).all()


def test_a_pair_without_text_has_no_vector(
    seen: Interactions, vectors: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    items, users = vectors
    vocabulary = Vocabulary([f"u{n}" for n in range(6)], [f"i{n}" for n in range(12)])
    result = retrieve_items(seen, seen, items, users, RetrievalConfig(n=2))
    made, table, refused = tabulate_retrieval(
        result, seen, vocabulary, [f"text {n}" for n in range(12)], items, "made up"
    )
    assert made.vectors.shape == (len(seen), 6)
    without = (result.items < 0).all(axis=1)
    assert without.any()
    assert (made.present == ~without).all()
    both = np.flatnonzero((result.items >= 0).all(axis=1))[0]
    np.testing.assert_allclose(made.vectors[both], items[result.items[both]].mean(axis=0), atol=1e-3)
    Stage(mined.KIND, {}, {}, lambda draft: mined.write_negatives(draft, made, table, refused)).run(
        tmp_path / "negatives"
    )
    read = mined.read_negatives(tmp_path / "negatives", vocabulary, len(seen))
    assert read.source == "made up"
    assert (read.items == result.items).all()
    np.testing.assert_array_equal(read.vectors, made.vectors)
    assert isinstance(read.vectors, np.memmap)
    assert not np.isnan(read.vectors_of(np.array([both]))).any()
    with pytest.raises(DataError, match=r"\d+ pairs .* 3"):
        mined.read_negatives(tmp_path / "negatives", vocabulary, 3)
