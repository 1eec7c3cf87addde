"""Baselines: slow references from the papers, limit cases, and a contract of all of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import inner_product
from hardneg.models import ALS, BASELINES, EASE, BaselineConfig, ItemItem, ItemKNN, Popular
from hardneg.models.baselines import item_knn
from hardneg.types import Floats


def scores_of(config: BaselineConfig, train: Interactions, seed: int = 0) -> Floats:
    made = config.fit(train, seed=seed)
    by_items = None if made.weights is None else ItemItem(train, made.weights)
    return inner_product(made.embeddings, by_items=by_items)(np.arange(train.n_users)).numpy()


class BaselineContract:
    """Tests of every baseline; a subclass names its configuration."""

    config: BaselineConfig

    def test_scores_are_finite_numbers_of_every_user_and_item(self, seen: Interactions) -> None:
        scores = scores_of(self.config, seen)
        assert scores.shape == (6, 12)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_equal_seeds_give_equal_bits(self, seen: Interactions) -> None:
        np.testing.assert_array_equal(scores_of(self.config, seen, 1), scores_of(self.config, seen, 1))

    def test_blocks_of_users_have_their_own_scores(self, seen: Interactions) -> None:
        made, users = self.config.fit(seen, seed=0), np.array([5, 0, 4])
        by_items = None if made.weights is None else ItemItem(seen, made.weights)
        some = inner_product(made.embeddings, by_items=by_items)(users).numpy()
        np.testing.assert_allclose(some, scores_of(self.config, seen)[users], rtol=1e-5, atol=1e-6)

    def test_users_and_items_without_pairs_have_finite_scores(self) -> None:
        train = Interactions.of(np.array([0, 0, 1]), np.array([0, 1, 1]), n_users=3, n_items=4)
        scores = scores_of(self.config, train)
        assert np.isfinite(scores).all()
        if not isinstance(self.config, Popular):
            assert (scores[2] == 0).all()

    def test_its_kind_is_that_of_the_registry(self) -> None:
        assert isinstance(self.config, BaselineConfig.find_class(self.config.kind))


class TestPopular(BaselineContract):
    config = Popular()


class TestItemKNN(BaselineContract):
    config = ItemKNN(neighbours=3)


class TestEASE(BaselineContract):
    config = EASE(l2=2)


class TestALS(BaselineContract):
    config = ALS(embedding_size=4, iterations=3)


def test_every_named_baseline_has_a_contract_test() -> None:
    assert {test.config.kind for test in BaselineContract.__subclasses__()} == set(BASELINES.names)


def test_popularity_counts_train_pairs(seen: Interactions) -> None:
    counts = [int((seen.items == item).sum()) for item in range(12)]
    assert scores_of(Popular(), seen).tolist() == [counts] * 6


@pytest.mark.parametrize(("neighbours", "shrink"), [(1, 0), (3, 0), (3, 2.5), (100, 0)])
@pytest.mark.parametrize("block", [5, 1024])
def test_item_knn_equals_the_slow_loop(
    seen: Interactions, neighbours: int, shrink: float, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_knn, "BLOCK", block)
    users_of = [set(seen.users[seen.items == item].tolist()) for item in range(12)]
    expected = np.zeros((6, 12))
    for item in range(12):
        cosines = {
            other: len(users_of[item] & users_of[other])
            / (np.sqrt(len(users_of[item]) * len(users_of[other])) + shrink)
            for other in range(12)
            if other != item and users_of[item] & users_of[other]
        }
        nearest = sorted(cosines, key=lambda other: (-cosines[other], other))[:neighbours]
        for user in range(6):
            expected[user, item] = sum(cosines[other] for other in nearest if user in users_of[other])
    np.testing.assert_allclose(scores_of(ItemKNN(neighbours=neighbours, shrink=shrink), seen), expected, rtol=1e-5)


def test_item_knn_with_every_neighbour_is_a_product_with_all_cosines(seen: Interactions) -> None:
    matrix = seen.matrix().toarray()
    norms = np.linalg.norm(matrix, axis=0)
    cosines = matrix.T @ matrix / np.outer(norms, norms)
    np.fill_diagonal(cosines, 0)
    np.testing.assert_allclose(scores_of(ItemKNN(neighbours=12), seen), matrix @ cosines, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_ease_solves_its_least_squares_item_by_item(seen: Interactions, precision: str) -> None:
    """Column j of B is the ridge regression of item j on all other items."""
    matrix, expected = seen.matrix().toarray().astype(np.float64), np.zeros((12, 12))
    for item in range(12):
        others = [other for other in range(12) if other != item]
        left = matrix[:, others].T @ matrix[:, others] + 2 * np.eye(11)
        expected[others, item] = np.linalg.solve(left, matrix[:, others].T @ matrix[:, item])
    weights = EASE(l2=2, precision=precision).fit(seen, seed=0).weights
    np.testing.assert_allclose(weights, expected, atol=1e-5)
    np.testing.assert_allclose(scores_of(EASE(l2=2), seen), matrix @ expected, atol=1e-5)


def test_ease_states_memory_and_a_singular_matrix(seen: Interactions) -> None:
    wide = Interactions.of(np.array([0]), np.array([0]), n_users=1, n_items=10_000_000)
    with pytest.raises(ConfigError, match="EASE of 10,000,000 items takes"):
        EASE().fit(wide, seed=0)
    with pytest.raises(DataError, match="singular"):
        EASE(l2=1e-30).fit(seen, seed=0)


def test_als_equals_the_slow_loop(seen: Interactions) -> None:
    """Hu et al. (2008), eq. 4 and 5, with weights and targets of every pair."""
    config = ALS(embedding_size=4, iterations=2, alpha=3, l2=0.5)
    made = config.fit(seen, seed=1)
    users, items = (table.double().numpy() for table in (made.embeddings.final_users, made.embeddings.final_items))
    matrix = seen.matrix().toarray().astype(np.float64)
    for item in range(12):  # items were solved last, given the users
        weights = np.diag(1 + 3 * matrix[:, item])
        left = users.T @ weights @ users + 0.5 * np.eye(4)
        np.testing.assert_allclose(items[item], np.linalg.solve(left, users.T @ weights @ matrix[:, item]), atol=1e-4)


def weighted_loss(config: ALS, seen: Interactions) -> float:
    made, matrix = config.fit(seen, seed=1), torch.from_numpy(seen.matrix().toarray())
    users, items = made.embeddings.final_users, made.embeddings.final_items
    errors = (1 + config.alpha * matrix) * (matrix - users @ items.T).square()
    return float(errors.sum() + config.l2 * (users.square().sum() + items.square().sum()))


def test_every_iteration_of_als_lowers_its_loss(seen: Interactions) -> None:
    losses = [weighted_loss(ALS(embedding_size=3, iterations=n, alpha=5, l2=0.1), seen) for n in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] > losses[-1]


def test_threads_change_no_bit_of_als(seen: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    one = scores_of(ALS(embedding_size=4), seen)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    np.testing.assert_array_equal(one, scores_of(ALS(embedding_size=4), seen))
