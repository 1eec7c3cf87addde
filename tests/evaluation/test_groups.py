"""Groups of held-out pairs against loops over pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch

from hardneg.data import Interactions, Split
from hardneg.data.truth import Truth
from hardneg.errors import DataError
from hardneg.evaluation import (
    Group,
    evaluate_parts,
    evaluate_scores,
    group_by_history,
    group_by_item_share,
    group_by_popularity,
)

METRICS = ("recall@5", "ndcg@10", "precision@5", "hit_rate@3")
Divide = Callable[..., list[Group]]


def pairs_of(pairs: list[tuple[int, int]], n_users: int = 4, n_items: int = 6) -> Interactions:
    users, items = np.array(pairs, int).reshape(-1, 2).T
    return Interactions.of(users, items, n_users=n_users, n_items=n_items)


@pytest.mark.parametrize("divide", [group_by_popularity, group_by_history])
@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_groups_divide_the_held_out_pairs_by_train_pairs(store: tuple[Split, Truth], divide: Divide, n: int) -> None:
    split, _ = store
    groups = divide(split.train, split.test, n)
    assert len(groups) == n
    assert sorted(key for group in groups for key in group.pairs.keys) == split.test.keys.tolist()
    of_items = divide is group_by_popularity
    counts = split.train.item_counts if of_items else split.train.counts
    for group in groups:
        owners = group.pairs.items if of_items else group.pairs.users
        assert all(group.low <= counts[owner] <= group.high for owner in owners)
    assert all(one.high < other.low for one, other in pairwise(groups))


@pytest.mark.parametrize("shares", [(0.8, 0.95), (0.5,), ()])
def test_groups_by_share_of_items(store: tuple[Split, Truth], shares: tuple[float, ...]) -> None:
    split, _ = store
    counts = split.train.item_counts
    ordered = sorted(counts)
    limits = [ordered[math.ceil(share * len(ordered)) - 1] for share in (*shares, 1.0)]
    expected: dict[int, list[int]] = {}
    for key, item in zip(split.test.keys, split.test.items, strict=True):
        expected.setdefault(next(limit for limit in limits if counts[item] <= limit), []).append(key)
    groups = group_by_item_share(split.train, split.test, shares)
    assert {group.high: group.pairs.keys.tolist() for group in groups} == expected


def test_groups_are_about_equal(store: tuple[Split, Truth]) -> None:
    split, _ = store
    for group in group_by_popularity(split.train, split.test):
        counts = split.train.item_counts
        share = counts[(group.low <= counts) & (counts <= group.high)].sum() / len(split.train)
        assert 0.2 < share < 0.5
    n_users = [np.count_nonzero(group.pairs.counts) for group in group_by_history(split.train, split.test)]
    assert max(n_users) < 3 * min(n_users), "ties of history are not divided"


def test_equal_counts_are_one_group() -> None:
    train = pairs_of([(0, 0), (1, 1), (2, 2), (3, 3)])
    (only,) = group_by_history(train, pairs_of([(0, 1), (2, 4)]))
    assert (only.name, len(only.pairs)) == ("1 train pair", 2)
    assert group_by_popularity(train, pairs_of([])) == []


def test_names_state_the_range() -> None:
    assert Group(1, 1, pairs_of([])).name == "1 train pair"
    assert Group(1, 4, pairs_of([])).name == "1 to 4 train pairs"


def test_parts_are_scored_as_if_they_were_all_that_is_held_out(store: tuple[Split, Truth]) -> None:
    split, _ = store
    table = torch.from_numpy(np.random.default_rng(0).normal(size=(split.train.n_users, split.train.n_items)))
    parts = [group.pairs for group in group_by_popularity(split.train, split.test)]
    found = evaluate_parts(lambda users: table[users].float(), parts, split.train, metrics=METRICS, block=7)
    for part, evaluation in zip(parts, found, strict=True):
        alone = evaluate_scores(lambda users: table[users].float(), part, split.train, metrics=METRICS)
        assert evaluation.users.tolist() == alone.users.tolist()
        assert evaluation.n_relevant.tolist() == alone.n_relevant.tolist()
        assert all((evaluation.values[name] == alone.values[name]).all() for name in METRICS)


def test_the_hits_of_parts_add_up(store: tuple[Split, Truth]) -> None:
    """Precision counts hits, so that of all pairs is the sum of those of the parts."""
    split, _ = store
    table = torch.from_numpy(np.random.default_rng(1).normal(size=(split.train.n_users, split.train.n_items)))

    def score(users: np.ndarray) -> torch.Tensor:
        return table[users].float()

    parts = [group.pairs for group in group_by_popularity(split.train, split.test)]
    whole = evaluate_scores(score, split.test, split.train, metrics=("precision@20",))
    total = np.zeros(split.train.n_users)
    for evaluation in evaluate_parts(score, parts, split.train, metrics=("precision@20",)):
        total[evaluation.users] += evaluation.values["precision@20"]
    assert total[whole.users] == pytest.approx(whole.values["precision@20"])


def test_parts_without_pairs_are_refused() -> None:
    nothing = pairs_of([])
    with pytest.raises(DataError, match="found no user with held-out pairs"):
        evaluate_parts(lambda users: torch.zeros(len(users), 6), [nothing, nothing], nothing, metrics=METRICS)
