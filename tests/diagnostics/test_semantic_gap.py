"""The semantic-behavioural gap: slow references and known answers."""

from __future__ import annotations

import numpy as np
import pytest

from hardneg.diagnostics import (
    Gap,
    embedding_spread,
    linear_cka,
    mean_cosine,
    nearest_items,
    semantic_behavioural_gap,
    semantic_gap,
)
from hardneg.errors import DataError


@pytest.fixture(params=[7, 1024])
def _block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(semantic_gap, "BLOCK", request.param)


def slow_cka(one: np.ndarray, other: np.ndarray) -> float:
    """By centred Gram matrices, as defined (HSIC)."""
    n = len(one)
    centre = np.eye(n) - 1 / n
    k, l = (centre @ (x @ x.T) @ centre for x in (one, other))  # noqa: E741
    return float((k * l).sum() / np.sqrt((k * k).sum() * (l * l).sum()))


@pytest.mark.usefixtures("_block")
def test_cka_equals_its_definition_by_gram_matrices(rng: np.random.Generator) -> None:
    one = rng.normal(size=(60, 5)) + 100
    other = one[:, :3] * [1, 2, 3] + rng.normal(size=(60, 3))
    assert linear_cka(one, other) == pytest.approx(slow_cka(one, other), rel=1e-9)
    assert 0.1 < linear_cka(one, other) < 0.95


@pytest.mark.usefixtures("_block")
def test_cka_of_a_rotation_a_shift_and_a_scaling_is_1(rng: np.random.Generator) -> None:
    one = rng.normal(size=(200, 6)) * np.arange(1, 7)
    rotation, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    assert linear_cka(one, 3 * one @ rotation + 5) == pytest.approx(1.0)
    assert mean_cosine(one, one @ rotation) < 0.9


def test_cka_of_independent_rows_is_near_0(rng: np.random.Generator) -> None:
    found = linear_cka(rng.normal(size=(20_000, 8)), rng.normal(size=(20_000, 16)))
    assert found == pytest.approx(np.sqrt(8 * 16) / 20_000, rel=0.5)


def test_cka_is_undefined_without_spread_or_for_unequal_lengths() -> None:
    with pytest.raises(DataError, match="undefined"):
        linear_cka(np.ones((4, 2)), np.arange(8.0).reshape(4, 2))
    with pytest.raises(DataError, match="found 4 and 3 rows"):
        linear_cka(np.ones((4, 2)), np.ones((3, 2)))


@pytest.mark.usefixtures("_block")
def test_nearest_items_and_cosines_equal_the_slow_loop(rng: np.random.Generator) -> None:
    vectors, items = rng.normal(size=(40, 5)), rng.normal(size=(25, 5)) * rng.uniform(0.1, 9, (25, 1))

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    expected = [max(range(25), key=lambda i: cosine(vector, items[i])) for vector in vectors]
    assert nearest_items(vectors, items).tolist() == expected
    mean = np.mean([cosine(vector, items[i]) for vector, i in zip(vectors, expected, strict=True)])
    assert mean_cosine(vectors, items[expected]) == pytest.approx(mean)


def test_rows_without_a_vector_do_not_count_in_the_mean(rng: np.random.Generator) -> None:
    one, other = rng.normal(size=(2, 20, 4))
    more = np.concatenate([one, np.full((3, 4), np.nan)]), np.concatenate([other, rng.normal(size=(3, 4))])
    assert mean_cosine(*more) == pytest.approx(mean_cosine(one, other))
    assert np.isnan(mean_cosine(more[0][-3:], more[1][-3:]))


def test_numbers_that_are_not_finite_are_refused(rng: np.random.Generator) -> None:
    items, positives = rng.normal(size=(6, 4)), rng.integers(6, size=9)
    for table, place in (("vectors", (2, 3)), ("items", (1, 0))):
        given = {"vectors": items[positives], "items": items.copy()}
        given[table][place] = np.inf
        with pytest.raises(DataError, match="not finite"):
            semantic_behavioural_gap(given["vectors"], positives, given["items"])


def test_vectors_that_are_their_positives_have_no_gap(rng: np.random.Generator) -> None:
    items, positives = rng.normal(size=(30, 4)), rng.integers(30, size=80)
    vectors = items[positives]
    vectors[::5] = np.nan
    found = semantic_behavioural_gap(vectors, positives, items)
    assert found.count == 64
    figures = [
        found.cosine_with_positives,
        found.cosine_with_nearest,
        found.cka_with_positives,
        found.cka_with_nearest,
    ]
    assert figures == pytest.approx([1.0] * 4)


@pytest.mark.usefixtures("_block")
def test_one_vector_for_all_has_no_spread_and_no_alignment(rng: np.random.Generator) -> None:
    items, positives = rng.normal(size=(30, 4)), rng.integers(30, size=80)
    constant = np.tile(np.float32([0.1, 0.2, 0.3, 50]), (80, 1))
    found = semantic_behavioural_gap(constant, positives, items)
    assert found.cka_with_positives is found.cka_with_nearest is None
    assert found.spread == pytest.approx(0.0, abs=1e-12)
    assert found.cosine_with_positives == pytest.approx(mean_cosine(constant, items[positives]))
    assert found.count == 80


def test_without_a_vector_nothing_is_known() -> None:
    found = semantic_behavioural_gap(np.full((3, 2), np.nan), np.zeros(3, int), np.ones((4, 2)))
    assert found == Gap(None, None, None, None, None, 0)


@pytest.mark.usefixtures("_block")
def test_spread_by_hand() -> None:
    assert embedding_spread(np.array([[1.0, 0.0], [-1.0, 0.0]])) == pytest.approx(1.0)
    assert embedding_spread(np.array([[1.0, 0.0], [0.0, 1.0]])) == pytest.approx(0.5)
    assert embedding_spread(np.array([[3.0, 4.0]] * 9)) == 0.0
    assert embedding_spread(np.zeros((4, 2))) == 0.0


def test_text_vectors_of_another_size_have_an_alignment_and_no_cosine(rng: np.random.Generator) -> None:
    items, positives = rng.normal(size=(30, 4)), rng.integers(30, size=80)
    vectors = items[positives] @ np.eye(4, 9)
    found = semantic_behavioural_gap(vectors, positives, items)
    assert found.cosine_with_positives is found.cosine_with_nearest is found.cka_with_nearest is None
    assert found.cka_with_positives == pytest.approx(1.0)
