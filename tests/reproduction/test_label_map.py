"""Ridge maps to labels: slow loops as references; knowing only the positive ranks by chance."""

from __future__ import annotations

import numpy as np
import pytest
from diagnostics.label_alternatives import DrawnLabels, LabelAlternatives, draw_alternatives
from diagnostics.label_map import STRENGTHS, LabelMap, compare_maps, fit_label_map, ridge

from diagnostics import label_map
from hardneg.errors import DataError
from hardneg.types import Floats, Indices


class World:
    """Labels that are a third positive, a third the pair's own, a third noise; vectors that know parts of it."""

    def __init__(self, rng: np.random.Generator, *, pairs: int = 1200, items: int = 30, size: int = 6) -> None:
        self.positives = rng.integers(items, size=pairs)
        self.of_item = rng.normal(size=(items, size))[self.positives]
        self.of_pair = rng.normal(size=(pairs, size))
        self.labels = self.of_item + self.of_pair + rng.normal(size=(pairs, size))
        order = rng.permutation(pairs)
        self.held_out, self.fit = np.sort(order[:300]), np.sort(order[300:])
        pool = DrawnLabels(self.labels, np.arange(pairs))
        self.alternatives = draw_alternatives(self.held_out, self.positives, pool, most=25)

    def judged(self, vectors: Floats) -> LabelMap:
        return fit_label_map(vectors, self.labels, fit=self.fit, held_out=self.held_out, alternatives=self.alternatives)


@pytest.fixture(scope="module")
def world() -> World:
    return World(np.random.default_rng(5))


def slow_ridge(x: Floats, y: Floats, strength: float) -> tuple[Floats, Floats]:
    """Weights on columns of unit variance by gradient descent on the definition, one label dimension at a time."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    weights = np.zeros((x.shape[1], y.shape[1]))
    for column in range(y.shape[1]):
        target = y[:, column] - y[:, column].mean()
        for _ in range(4000):
            gradient = 2 * (z.T @ (z @ weights[:, column] - target)) / len(x) + 2 * strength * weights[:, column]
            weights[:, column] -= 0.1 * gradient
    return weights, y.mean(axis=0)


@pytest.mark.parametrize("strength", [1e-2, 1.0])
def test_ridge_minimises_its_definition(rng: np.random.Generator, strength: float) -> None:
    x = rng.normal(size=(50, 3)) * [1, 100, 0.01] + [5, 0, -3]
    y = x @ rng.normal(size=(3, 2)) + rng.normal(size=(50, 2)) + 7
    rows = np.flatnonzero(rng.random(50) < 0.8)
    found = ridge(x, y, rows, (strength,))[0]
    weights, offset = slow_ridge(x[rows], y[rows], strength)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-6)
    np.testing.assert_allclose(found.offset, offset)
    expected = ((x[:5] - x[rows].mean(axis=0)) / x[rows].std(axis=0)) @ weights + offset
    np.testing.assert_allclose(found(x[:5]), expected, rtol=1e-6)


def test_ridge_is_scikit_learn_s_on_columns_of_unit_variance(rng: np.random.Generator) -> None:
    from sklearn.linear_model import Ridge

    x, y = rng.normal(size=(80, 9)), rng.normal(size=(80, 4))
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    expected = Ridge(alpha=0.3 * 80).fit(z, y)
    found = ridge(x, y, np.arange(80), (0.3,))[0]
    np.testing.assert_allclose(found(x), expected.predict(z))


def test_a_column_without_variance_and_no_column_at_all_have_no_weight(rng: np.random.Generator) -> None:
    x, y = rng.normal(size=(40, 2)), rng.normal(size=(40, 3))
    beside = np.column_stack([x, np.full(40, 0.1), np.zeros(40)]).astype(np.float32)
    one, other = ridge(x.astype(np.float32), y, np.arange(40), (0.1,))[0], ridge(beside, y, np.arange(40), (0.1,))[0]
    np.testing.assert_allclose(one(x[:4].astype(np.float32)), other(beside[:4]))
    nothing = ridge(np.zeros((40, 0)), y, np.arange(40), (0.1,))[0]
    np.testing.assert_allclose(nothing(np.zeros((2, 0))), np.stack([y.mean(axis=0)] * 2))


def slow_figures(world: World, vectors: Floats, strength: float) -> tuple[float, float, list[float], list[float]]:
    found = ridge(vectors, world.labels, world.fit, (strength,))[0]
    mean = world.labels[world.fit].mean(axis=0)
    unexplained, whole, cosines, ranks, reciprocals = 0.0, 0.0, [], [], []
    for place, row in enumerate(world.held_out):
        predicted, own = found(vectors[[row]])[0], world.labels[row]
        for dimension in range(len(own)):
            unexplained += (own[dimension] - predicted[dimension]) ** 2
            whole += (own[dimension] - mean[dimension]) ** 2

        def cosine(label: Floats, predicted: Floats = predicted) -> float:
            return float(label @ predicted / np.linalg.norm(label) / np.linalg.norm(predicted))

        cosines.append(cosine(own))
        rows = world.alternatives.indices[world.alternatives.starts[place] : world.alternatives.starts[place + 1]]
        nearer = sum(cosine(world.alternatives.labels[other]) > cosine(own) for other in rows)
        ranks.append(nearer / len(rows))
        reciprocals.append(1 / (1 + nearer))
    return 1 - unexplained / whole, float(np.mean(cosines)), ranks, reciprocals


@pytest.mark.parametrize("block", [7, 8192])
def test_r2_cosine_and_ranks_equal_the_slow_loop(world: World, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(label_map, "BLOCK", block)
    vectors = np.hstack([world.of_pair, world.of_item])[:, :9]
    found = world.judged(vectors)
    assert found.strength in STRENGTHS
    r2, cosine, ranks, reciprocals = slow_figures(world, vectors, found.strength)
    assert found.r2 == pytest.approx(r2, rel=1e-9)
    assert found.cosine == pytest.approx(cosine, rel=1e-9)
    np.testing.assert_allclose(found.ranks, ranks)
    np.testing.assert_allclose(found.reciprocals, reciprocals)
    assert found.rank == pytest.approx(np.mean(ranks))
    assert found.reciprocal_rank == pytest.approx(np.mean(reciprocals))


def test_knowing_only_the_positive_ranks_by_chance(world: World) -> None:
    positive, both = world.judged(world.of_item), world.judged(np.hstack([world.of_item, world.of_pair]))
    assert positive.r2 == pytest.approx(1 / 3, abs=0.07)
    assert both.r2 == pytest.approx(2 / 3, abs=0.07)
    assert positive.rank == pytest.approx(0.5, abs=0.05)
    assert both.rank < 0.2
    assert both.cosine > positive.cosine > 0.4


def test_the_mean_label_explains_nothing(world: World) -> None:
    found = world.judged(np.zeros((len(world.labels), 0)))
    assert found.r2 == pytest.approx(0)
    assert found.rank == pytest.approx(0.5, abs=0.06)


def test_noise_gets_a_strong_ridge_selected_without_held_out_labels(world: World, rng: np.random.Generator) -> None:
    noise = rng.normal(size=(len(world.labels), 300))
    found = world.judged(noise)
    assert found.strength >= 1
    assert abs(found.r2) < 0.03
    spoilt = world.labels.copy()
    spoilt[world.held_out] = rng.normal(size=(len(world.held_out), spoilt.shape[1])) * 100
    again = fit_label_map(noise, spoilt, fit=world.fit, held_out=world.held_out, alternatives=world.alternatives)
    assert again.strength == found.strength


def test_the_vectors_scale_and_place_change_nothing(world: World) -> None:
    one, other = (world.judged(v) for v in (world.of_pair, world.of_pair * [1, 1e-3, 1e3, 1, 1, 1] + 50))
    np.testing.assert_allclose(one.errors, other.errors, rtol=1e-6)


def test_a_pair_without_alternatives_counts_only_in_r2(world: World) -> None:
    labels, held_out = world.labels, world.held_out
    pool = DrawnLabels(labels, np.arange(len(labels)))
    alone = world.positives.copy()
    alone[held_out[0]] = 777
    alternatives = draw_alternatives(held_out, alone, pool, most=25)
    found = fit_label_map(world.of_pair, labels, fit=world.fit, held_out=held_out, alternatives=alternatives)
    assert np.flatnonzero(np.isnan(found.ranks)).tolist() == [0]
    assert found.r2 == pytest.approx(world.judged(world.of_pair).r2)
    assert np.isfinite([found.rank, found.reciprocal_rank]).all()
    nobody = fit_label_map(
        world.of_pair, labels, fit=world.fit, held_out=held_out, alternatives=_none(labels, held_out)
    )
    assert np.isnan(nobody.rank)
    assert np.isnan(compare_maps(nobody, nobody)["rank"].difference)
    assert compare_maps(nobody, found, resamples=20)["r2"].difference == pytest.approx(0)


def _none(labels: Floats, held_out: Indices) -> LabelAlternatives:
    return LabelAlternatives(labels, np.zeros(0, np.int64), np.zeros(len(held_out) + 1, np.int64))


def test_equal_labels_share_a_rank(rng: np.random.Generator) -> None:
    labels = rng.normal(size=(30, 4))
    labels[20:] = labels[20]  # the held-out label and nine others
    alternatives = draw_alternatives(
        np.array([25]), np.zeros(30, int), DrawnLabels(labels[20:], np.arange(20, 30)), most=100
    )
    found = fit_label_map(
        rng.normal(size=(30, 2)), labels, fit=np.arange(20), held_out=np.array([25]), alternatives=alternatives
    )
    assert found.ranks.tolist() == [0.5]
    assert found.reciprocals.tolist() == [1 / 5.5]


def test_intervals_contain_the_difference_and_equal_maps_differ_by_nothing(world: World) -> None:
    one, other = world.judged(np.hstack([world.of_item, world.of_pair])), world.judged(world.of_item)
    found = compare_maps(one, other)
    assert found["r2"].difference == pytest.approx(one.r2 - other.r2)
    assert found["cosine"].difference == pytest.approx(one.cosine - other.cosine)
    assert found["rank"].difference == pytest.approx(one.rank - other.rank)
    assert found["reciprocal_rank"].difference == pytest.approx(one.reciprocal_rank - other.reciprocal_rank)
    for part in found.values():
        assert part.low < part.difference < part.high
    assert found["r2"].low > 0
    assert found["rank"].high < 0
    assert {(part.low, part.high) for part in compare_maps(one, one).values()} == {(0.0, 0.0)}


def test_the_interval_is_that_of_a_slow_bootstrap(world: World, rng: np.random.Generator) -> None:
    one, other = world.judged(world.of_pair[:, :3]), world.judged(world.of_item)
    found = compare_maps(one, other, resamples=2000)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(len(one.errors), size=len(one.errors))
        r2 = [1 - part.errors[rows].sum() / part.totals[rows].sum() for part in (one, other)]
        drawn.append((r2[0] - r2[1], one.ranks[rows].mean() - other.ranks[rows].mean()))
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    for place, name in enumerate(("r2", "rank")):
        width = high[place] - low[place]
        assert found[name].low == pytest.approx(low[place], abs=0.1 * width)
        assert found[name].high == pytest.approx(high[place], abs=0.1 * width)


def test_unusable_rows_are_refused(world: World) -> None:
    vectors, labels, alternatives = world.of_pair, world.labels, world.alternatives
    with pytest.raises(DataError, match="1 rows in both"):
        fit_label_map(vectors, labels, fit=np.arange(10), held_out=np.arange(9, 12), alternatives=alternatives)
    with pytest.raises(DataError, match="found 1 rows to fit on"):
        fit_label_map(vectors, labels, fit=np.arange(1), held_out=np.arange(9, 12), alternatives=alternatives)
    with pytest.raises(DataError, match="found 3 vectors"):
        fit_label_map(vectors[:3], labels, fit=world.fit, held_out=world.held_out, alternatives=alternatives)
    broken = vectors.copy()
    broken[world.held_out[0]] = np.nan
    with pytest.raises(DataError, match="vectors"):
        fit_label_map(broken, labels, fit=world.fit, held_out=world.held_out, alternatives=alternatives)
