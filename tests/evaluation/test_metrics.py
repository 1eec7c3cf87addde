"""Metrics against slow loops, and against ir-measures on random cases."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.evaluation import evaluate_scores, inner_product, metrics, top_items
from hardneg.types import Embeddings

NAMES = tuple(f"{name}@{k}" for name in metrics.METRICS for k in (1, 5, 10))


def case(seed: int, n_users: int = 40, n_items: int = 60) -> tuple[np.ndarray, Interactions, Interactions]:
    """Scores without ties, seen pairs, held-out pairs (some users have none)."""
    rng = np.random.default_rng(seed)
    scores = rng.permutation(n_users * n_items).reshape(n_users, n_items) / (n_users * n_items)
    draw = rng.random((n_users, n_items))
    held_out = (draw > 0.9) & (rng.random((n_users, 1)) < 0.8)
    parts = [np.nonzero(draw < 0.2), np.nonzero(held_out)]
    return scores, *(Interactions.of(*part, n_users=n_users, n_items=n_items) for part in parts)


def measured(scores: np.ndarray, seen: Interactions, held_out: Interactions, **more: int) -> dict[str, np.ndarray]:
    found = evaluate_scores(lambda users: torch.from_numpy(scores[users]), held_out, seen, metrics=NAMES, **more)
    assert found.users.shape == found.n_relevant.shape == found.values["recall@5"].shape
    return found.values


@pytest.mark.parametrize("seed", range(3))
def test_every_metric_equals_the_slow_loop(seed: int) -> None:
    scores, seen, held_out = case(seed)
    found = measured(scores, seen, held_out)
    users = [user for user in range(40) if len(held_out.items_of(user))]
    assert 0 < len(users) < 40
    for place, user in enumerate(users):
        relevant, taken = set(held_out.items_of(user)), set(seen.items_of(user))
        ranked = sorted((item for item in range(60) if item not in taken), key=lambda item: -scores[user, item])
        for k in (1, 5, 10):
            hits = [item in relevant for item in ranked[:k]]
            gain = sum(hit / math.log2(rank + 2) for rank, hit in enumerate(hits))
            ideal = sum(1 / math.log2(rank + 2) for rank in range(min(k, len(relevant))))
            assert found[f"recall@{k}"][place] == pytest.approx(sum(hits) / len(relevant))
            assert found[f"precision@{k}"][place] == pytest.approx(sum(hits) / k)
            assert found[f"hit_rate@{k}"][place] == float(any(hits))
            assert found[f"ndcg@{k}"][place] == pytest.approx(gain / ideal)


@pytest.mark.parametrize("seed", range(3, 8))
def test_every_metric_equals_ir_measures(seed: int) -> None:
    scores, seen, held_out = case(seed)
    found = measured(scores, seen, held_out)
    users = np.flatnonzero(held_out.counts)
    qrels = [ir_measures.Qrel(str(u), str(i), 1) for u in users for i in held_out.items_of(u)]
    free = {u: np.setdiff1d(np.arange(60), seen.items_of(u)) for u in users}
    run = [ir_measures.ScoredDoc(str(u), str(i), float(scores[u, i])) for u in users for i in free[u]]
    theirs = {
        "recall": ir_measures.R,
        "ndcg": ir_measures.nDCG,
        "precision": ir_measures.P,
        "hit_rate": ir_measures.Success,
    }
    for name in NAMES:
        metric, _, k = name.partition("@")
        values = {v.query_id: v.value for v in ir_measures.iter_calc([theirs[metric] @ int(k)], qrels, run)}
        np.testing.assert_allclose([values[str(u)] for u in users], found[name], atol=1e-10)


def test_the_result_does_not_depend_on_the_block() -> None:
    scores, seen, held_out = case(9)
    one, other = measured(scores, seen, held_out, block=1), measured(scores, seen, held_out, block=1000)
    assert all((one[name] == other[name]).all() for name in NAMES)


def test_only_seen_items_are_masked() -> None:
    """An added pseudo-positive stays rankable: only observed train pairs leave the ranking."""
    seen = Interactions.of(np.array([0]), np.array([0]), n_users=1, n_items=4)
    held_out = Interactions.of(np.array([0]), np.array([3]), n_users=1, n_items=4)
    score = torch.tensor([[9.0, 8.0, 7.0, 6.0]])
    assert top_items(lambda users: score[users], np.array([0]), seen, 4).tolist() == [[1, 2, 3, -1]]
    found = evaluate_scores(lambda users: score[users], held_out, seen, metrics=("recall@2", "recall@3"))
    assert found.means() == {"recall@2": 0.0, "recall@3": 1.0}


def test_a_catalogue_smaller_than_k_is_ranked_whole() -> None:
    seen = Interactions.of(np.array([0]), np.array([0]), n_users=1, n_items=3)
    held_out = Interactions.of(np.array([0]), np.array([2]), n_users=1, n_items=3)
    score = torch.tensor([[3.0, 2.0, 1.0]])
    found = evaluate_scores(
        lambda users: score[users], held_out, seen, metrics=("recall@20", "precision@20", "ndcg@20")
    )
    assert found.means() == pytest.approx({"recall@20": 1.0, "precision@20": 0.05, "ndcg@20": 1 / math.log2(3)})


def test_scores_of_embeddings_are_inner_products() -> None:
    users, items = torch.randn(5, 3), torch.randn(7, 3)
    score = inner_product(Embeddings((users,), (items,), "mean"))
    torch.testing.assert_close(score(np.array([4, 0])), users[[4, 0]] @ items.T)


def test_embeddings_that_are_not_finite_are_refused() -> None:
    broken = Embeddings((torch.tensor([[float("nan")]]),), (torch.ones(2, 1),), "mean")
    with pytest.raises(DataError, match="not finite"):
        inner_product(broken)


def test_nothing_held_out_is_an_error() -> None:
    _, seen, _ = case(0)
    nobody = Interactions.of(np.array([], int), np.array([], int), n_users=40, n_items=60)
    with pytest.raises(DataError, match="held-out pairs"):
        evaluate_scores(lambda users: torch.zeros(len(users), 60), nobody, seen, metrics=("recall@5",))


@pytest.mark.parametrize("name", ["recall", "recall@0", "mrr@5", "ndcg@-1"])
def test_unknown_metrics_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="as in recall@20"):
        metrics.parse_metric(name)


@pytest.mark.parametrize("metric", metrics.METRICS.values())
def test_a_user_without_held_out_items_has_no_value(metric: object) -> None:
    with pytest.raises(DataError, match="undefined"):
        metric(np.zeros((2, 3), bool), np.array([1, 0]), k=2)
