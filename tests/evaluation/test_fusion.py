"""Late fusion is an inner product: the slow sum of two scores, missing texts, and what validation chooses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import best_weight, evaluate_scores, fuse_scores, inner_product, text_embeddings, top_items
from hardneg.evaluation.fusion import center_rows, mean_of_items, validation_value
from hardneg.types import Embeddings, Floats

N_USERS, N_ITEMS = 6, 12


def unit(rng: np.random.Generator, n: int, size: int = 5) -> Floats:
    rows = rng.normal(size=(n, size)).astype(np.float32)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


@pytest.fixture
def model(rng: np.random.Generator) -> Embeddings:
    hops = [tuple(torch.from_numpy(rng.normal(size=(n, 4)).astype(np.float32)) for _ in range(2)) for n in (6, 12)]
    return Embeddings(hops[0], hops[1], "mean")


@pytest.fixture
def texts(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Profiles and item texts; user 2 and item 3 have none."""
    profiles, items = unit(rng, N_USERS), unit(rng, N_ITEMS)
    profiles[2] = items[3] = np.nan
    return profiles, items


def cosine(a: Floats, b: Floats) -> float:
    if np.isnan(a).any() or np.isnan(b).any():
        return 0.0
    return float(sum(x * y for x, y in zip(a, b, strict=True)) / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.mark.parametrize("weight", [0.0, 0.3, 4.0])
def test_the_score_is_the_models_plus_weight_times_the_cosine(
    model: Embeddings, texts: tuple[Floats, Floats], weight: float
) -> None:
    found = inner_product(fuse_scores(model, *texts, weight))(np.arange(N_USERS)).numpy()
    users, items = model.final_users.numpy(), model.final_items.numpy()
    for user in range(N_USERS):
        for item in range(N_ITEMS):
            expected = float(users[user] @ items[item]) + weight * cosine(texts[0][user], texts[1][item])
            assert found[user, item] == pytest.approx(expected, abs=1e-5)


def test_text_embeddings_give_the_cosine_and_the_limit_of_fusion(
    model: Embeddings, texts: tuple[Floats, Floats], seen: Interactions
) -> None:
    alone = inner_product(text_embeddings(*texts))
    found = alone(np.arange(N_USERS)).numpy()
    expected = [[cosine(profile, text) for text in texts[1]] for profile in texts[0]]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    known = np.array([0, 1, 3, 4])
    of_much_weight = top_items(inner_product(fuse_scores(model, *texts, 1e5)), known, seen, 4)
    assert (of_much_weight == top_items(alone, known, seen, 4)).all()


def test_weight_zero_returns_the_model(model: Embeddings, texts: tuple[Floats, Floats]) -> None:
    assert fuse_scores(model, *texts, 0.0) is model


def test_a_user_or_item_without_text_keeps_the_models_scores(model: Embeddings, texts: tuple[Floats, Floats]) -> None:
    found, before = (inner_product(e)(np.arange(N_USERS)) for e in (fuse_scores(model, *texts, 8.0), model))
    torch.testing.assert_close(found[2], before[2])
    torch.testing.assert_close(found[:, 3], before[:, 3])


def test_the_best_weight_is_the_smallest_of_equals(
    model: Embeddings, texts: tuple[Floats, Floats], seen: Interactions
) -> None:
    held_out = Interactions.of(np.array([0, 1, 3]), np.array([0, 1, 2]), n_users=N_USERS, n_items=N_ITEMS)
    nothing = Interactions.of(np.array([], int), np.array([], int), n_users=N_USERS, n_items=N_ITEMS)
    for weight in (2.0, 0.0):
        fused = fuse_scores(model, *texts, weight)
        score = inner_product(fused)
        expected = evaluate_scores(score, held_out, nothing, metrics=("ndcg@3",)).means()["ndcg@3"]
        assert validation_value(inner_product(fused), held_out, nothing, "ndcg@3") == expected
    assert best_weight({8.0: 0.2, 4.0: 0.3, 1.0: 0.3, 0.0: 0.1}) == 1.0


def test_centred_vectors_have_no_mean_and_keep_missing_rows(texts: tuple[Floats, Floats]) -> None:
    shifted = texts[1] + 3.0
    shifted /= np.linalg.norm(shifted, axis=1, keepdims=True)
    found = center_rows(shifted)
    there = np.arange(N_ITEMS) != 3
    expected = shifted[there] - shifted[there].mean(axis=0)
    np.testing.assert_allclose(found[there], expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-5)
    assert np.isnan(found[3]).all()
    assert not center_rows(np.full((2, 3), 0.5, np.float32)).any()  # all alike: nothing is left, and no NaN
    assert np.isnan(center_rows(np.full((2, 3), np.nan, np.float32))).all()


def test_bad_weights_and_other_splits_are_named(model: Embeddings, texts: tuple[Floats, Floats]) -> None:
    for weight in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="expected a number of 0 or more"):
            fuse_scores(model, *texts, weight)
    with pytest.raises(DataError, match="found 5 profiles and 12 item texts, expected 6 and 12"):
        fuse_scores(model, texts[0][:5], texts[1], 1.0)


def test_mean_profiles_are_normalised_means_of_item_vectors(texts: tuple[Floats, Floats], seen: Interactions) -> None:
    found = mean_of_items(seen, texts[1])
    for user in range(N_USERS):
        vectors = [texts[1][item] for item in seen.items_of(user) if item != 3]
        mean = np.mean(vectors, axis=0)
        np.testing.assert_allclose(found[user], mean / np.linalg.norm(mean), atol=1e-5)
    only_blank = Interactions.of(np.array([0]), np.array([3]), n_users=1, n_items=N_ITEMS)
    assert np.isnan(mean_of_items(only_blank, texts[1])).all()
