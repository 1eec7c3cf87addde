"""The k best of every user, against sorting; the 16-bit shortlist loses nobody."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tests.fixed_speeds import FixedSpeeds

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.evaluation import PairBonus, Popularity, inner_product, ranking, top_items
from hardneg.evaluation.kernels import order_keys
from hardneg.evaluation.shortlist import RoundedTable, _key_values, _keys_at_or_below, error_bound
from hardneg.types import Embeddings

FEW = st.sampled_from([-2.0, -1.0, -0.0, 0.0, 0.5, 1.0, 3.0])  # many ties
SCORES = st.one_of(FEW, st.floats(width=32))  # also infinite ones and NaN


def sorted_items(scores: np.ndarray, seen: Interactions, k: int) -> list[list[int]]:
    """Best first, of equals the lower item first, -1 where none is left."""
    found = []
    for user, row in enumerate(scores):
        free = [i for i in range(len(row)) if i not in seen.items_of(user) and row[i] > -np.inf]
        best = sorted(free, key=lambda i: (-row[i], i))[:k]
        found.append(best + [-1] * (min(k, len(row)) - len(best)))
    return found


@settings(max_examples=150, deadline=None)
@given(
    hnp.arrays(np.float32, st.tuples(st.just(4), st.integers(1, 200)), elements=SCORES),
    st.sets(st.tuples(st.integers(0, 3), st.integers(0, 199))),
    st.integers(1, 30),
)
def test_the_best_equal_those_of_sorting(scores: np.ndarray, pairs: set[tuple[int, int]], k: int) -> None:
    n_items = scores.shape[1]
    users, items = np.array(sorted((u, i % n_items) for u, i in pairs), int).reshape(-1, 2).T
    seen = Interactions.of(users, items, n_users=4, n_items=n_items)
    table, before = torch.from_numpy(scores), scores.copy()
    found = top_items(lambda block: table[torch.from_numpy(block)], np.arange(4), seen, k)
    assert found.tolist() == sorted_items(before, seen, k)
    np.testing.assert_array_equal(scores, before, "the caller's scores are left as they are")


@pytest.mark.parametrize("part", [1, 7, 64, 150])
def test_a_catalogue_in_parts_has_the_best_of_the_whole(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small whole numbers: products without rounding, and many ties across parts."""
    rng = np.random.default_rng(part)
    users, items = (torch.from_numpy(rng.integers(-2, 3, (n, 3)).astype(np.float32)) for n in (9, 150))
    seen = Interactions.of(*np.nonzero(rng.random((9, 150)) < 0.2), n_users=9, n_items=150)
    monkeypatch.setattr(ranking, "PART", part)
    found = top_items(inner_product(Embeddings((users,), (items,), "mean")), np.arange(9), seen, 40)
    assert found.tolist() == sorted_items((users @ items.T).numpy(), seen, 40)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_embeddings_of_another_precision_are_ranked(kind: torch.dtype) -> None:
    embeddings = Embeddings((torch.eye(3, dtype=kind),), (torch.arange(12, dtype=kind).reshape(4, 3),), "mean")
    nobody = Interactions.of(np.array([], int), np.array([], int), n_users=3, n_items=4)
    assert top_items(inner_product(embeddings), np.arange(3), nobody, 3).tolist() == [[3, 2, 1]] * 3


@settings(max_examples=60, deadline=None)
@given(st.sets(st.tuples(st.integers(0, 4), st.integers(0, 11)), min_size=1), st.integers(1, 15))
def test_popular_items_equal_those_of_scoring_all(pairs: set[tuple[int, int]], k: int) -> None:
    users, items = np.array(sorted(pairs)).T
    train = Interactions.of(users, items, n_users=5, n_items=12)
    score = Popularity(train)
    expected = top_items(score.__call__, np.arange(5), train, k)
    assert top_items(score, np.arange(5), train, k).tolist() == expected.tolist()


def test_nan_is_never_ranked() -> None:
    nobody = Interactions.of(np.array([], int), np.array([], int), n_users=1, n_items=3)
    score = torch.tensor([[float("nan"), 1.0, -float("inf")]])
    assert top_items(lambda users: score[users], np.array([0]), nobody, 3).tolist() == [[1, -1, -1]]


def tables(seed: int, size: int, scale: float, close: float) -> tuple[Embeddings, Interactions]:
    """Items that lie close together are hard to distinguish in 16 bits."""
    rng = np.random.default_rng(seed)
    users = rng.normal(size=(20, size)) * scale
    items = rng.normal(size=size) + close * rng.normal(size=(150, size))
    places = np.nonzero(rng.random((20, 150)) < 0.1)
    seen = Interactions.of(*places, n_users=20, n_items=150)
    parts = (torch.from_numpy(part.astype(np.float32)) for part in (users, items))
    return Embeddings(*((part,) for part in parts), "mean"), seen


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 999),
    st.sampled_from([1, 8, 64]),
    st.sampled_from([1e-3, 1.0, 1e4]),
    st.sampled_from([1e-4, 0.01, 1.0]),
)
def test_the_shortlist_gives_the_scores_of_the_exact_ranking(seed: int, size: int, scale: float, close: float) -> None:
    """Items whose 32-bit scores differ by rounding alone may change places: scores are compared, not items."""
    embeddings, seen = tables(seed, size, scale, close)
    users = np.arange(20)
    exact, short = (top_items(inner_product(embeddings, shortlist=s), users, seen, 10) for s in (False, True))
    assert not seen.contains(users[:, None], short).any()
    assert all(len(set(row)) == 10 for row in short.tolist())
    scores = embeddings.users[0].double().numpy() @ embeddings.items[0].double().numpy().T
    one, other = (np.take_along_axis(scores, found, axis=1) for found in (exact, short))
    rounding = 4 * size * 2.0**-24 * abs(scores).max()
    np.testing.assert_allclose(one, other, atol=rounding)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 999), st.sampled_from([1, 8, 64]), st.sampled_from([1e-3, 1.0, 1e4]))
def test_the_bound_holds(seed: int, size: int, scale: float) -> None:
    embeddings, _ = tables(seed, size, scale, 1.0)
    users, items = RoundedTable.of(embeddings.users[0]), RoundedTable.of(embeddings.items[0])
    exact = embeddings.users[0] @ embeddings.items[0].T
    summed = users.table_16.float() @ items.table_16.float().T  # before the sum is rounded
    assert ((exact - summed).abs().amax(dim=1).numpy() <= error_bound(users, items)).all()


def test_the_shortlist_of_equals_and_of_users_who_have_everything() -> None:
    embeddings = Embeddings((torch.ones(3, 4),), (torch.ones(6, 4),), "mean")
    seen = Interactions.of(np.array([0, 1, 1, 1, 1, 1, 1]), np.array([2, *range(6)]), n_users=3, n_items=6)
    found = top_items(inner_product(embeddings, shortlist=True), np.arange(3), seen, 4)
    assert found.tolist() == [[0, 1, 3, 4], [-1, -1, -1, -1], [0, 1, 2, 3]]


@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-(2.0**99), 2.0**99, width=32)))
def test_keys_order_as_the_numbers_do_and_mean_them(numbers: np.ndarray) -> None:
    rounded = torch.from_numpy(numbers).bfloat16()
    keys = rounded.view(torch.int16).numpy().copy()
    order_keys(keys)
    values = rounded.float().numpy()
    assert (_key_values(keys) == values).all()
    order = np.argsort(keys, kind="stable")
    assert (np.diff(values[order]) >= 0).all()


@given(st.floats(-1e30, 1e30))
def test_the_key_below_a_number_is_not_above_it(number: float) -> None:
    key = _keys_at_or_below(np.array([number]))
    assert _key_values(key)[0] <= number
    if abs(number) > 1e-30:
        assert _key_values(key + np.int16(1))[0] > number


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_change_nothing(threads: int) -> None:
    embeddings, seen = tables(3, 16, 1.0, 1.0)
    one = top_items(inner_product(embeddings, shortlist=True), np.arange(20), seen, 7)
    torch.set_num_threads(threads)
    try:
        other = top_items(inner_product(embeddings, shortlist=True), np.arange(20), seen, 7)
    finally:
        torch.set_num_threads(1)
    assert (one == other).all()


def test_scores_that_do_not_fit_the_pairs_are_refused() -> None:
    seen = Interactions.of(np.array([0, 2]), np.array([19, 3]), n_users=3, n_items=20)
    score = torch.zeros(4, 10)
    with pytest.raises(DataError, match=r"found scores \(1, 10\), expected \(1, 20\)"):
        top_items(lambda users: score[users], np.array([0]), seen, 3)
    with pytest.raises(DataError, match="users up to 3, expected 1 or more and users below 3"):
        top_items(lambda users: score[users], np.array([3]), seen, 3)
    with pytest.raises(DataError, match="found depth 0"):
        top_items(lambda users: score[users], np.array([0]), seen, 0)
    for shortlist in (False, True):
        score_of = inner_product(Embeddings((torch.ones(3, 2),), (torch.ones(10, 2),), "mean"), shortlist=shortlist)
        with pytest.raises(DataError, match="found scores of 10 items, expected 20"):
            top_items(score_of, np.array([0]), seen, 3)


@pytest.mark.parametrize(("shortlist", "taken"), [(2.5, ranking.EXACT), (0.9, ranking.EXACT), (0.5, ranking.SHORTLIST)])
def test_a_clearly_faster_shortlist_is_taken_where_it_is_possible(
    shortlist: float, taken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = {ranking.EXACT: 1.0, ranking.SHORTLIST: shortlist}

    monkeypatch.setattr(ranking, "RANKING", FixedSpeeds(seconds))
    embeddings, seen = tables(3, 16, 1.0, 1.0)
    bonus = PairBonus(seen, np.ones(len(seen)))
    assert inner_product(embeddings, shortlist=None).ranking == taken
    assert inner_product(embeddings, shortlist=None, bonus=bonus).ranking == ranking.EXACT
    assert inner_product(embeddings).ranking == ranking.EXACT
    assert inner_product(embeddings).speed_warning() == ""
    slow = "the 16-bit shortlist takes 2.5 times as long as the exact ranking on this machine; leave it out"
    assert inner_product(embeddings, shortlist=True).speed_warning() == (slow if shortlist > 1 else "")


def test_both_rankings_are_timed() -> None:
    seconds = ranking.measure_rankings()
    assert set(seconds) == {ranking.EXACT, ranking.SHORTLIST}
    assert all(0 < value < 5 for value in seconds.values())
