"""The true false-negative rate: derived by hand, and reproduced by sampling."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions, Split
from hardneg.data.interactions import union
from hardneg.data.truth import Truth
from hardneg.diagnostics import ExampleRecorder, HeldOutPairs, SampledFalseNegatives, uniform_false_negative_rate
from hardneg.fitting import fit_backbone
from hardneg.models import LightGCNModel, MFModel
from hardneg.sampling import DNS, Uniform
from hardneg.training import FitConfig
from hardneg.types import Batch, Embeddings, Items, Vectors


@pytest.fixture
def tiny() -> tuple[Truth, Interactions]:
    """Two users, three items; like-probabilities sigmoid(+-2) and 0.5."""
    truth = Truth(np.array([[2.0], [-2.0]]), np.array([[1.0], [0.0], [-1.0]]), np.zeros(3), np.zeros(2))
    return truth, Interactions.of(np.array([0, 1]), np.array([0, 2]), n_users=2, n_items=3)


def test_uniform_rate_by_hand(tiny: tuple[Truth, Interactions]) -> None:
    """User 0 has item 0; of items 1 and 2 she likes 0.5 and sigmoid(-2). User 1 has item 2 and mirrors her."""
    low = 1 / (1 + np.exp(2.0))
    assert uniform_false_negative_rate(*tiny) == pytest.approx((0.5 + low) / 2)


def test_uniform_rate_equals_the_slow_loop(store: tuple[Split, Truth]) -> None:
    split, truth = store
    train, rates = split.train, []
    for user in train.users:
        free = np.setdiff1d(np.arange(train.n_items), train.items_of(user))
        rates.append(truth.like_probability(np.full(len(free), user), free).mean())
    assert uniform_false_negative_rate(truth, train) == pytest.approx(np.mean(rates), rel=1e-6)


def test_sampling_reproduces_the_expected_rate(store: tuple[Split, Truth]) -> None:
    split, truth = store
    observer = SampledFalseNegatives(truth, split.train)
    model = MFModel(split.train, embedding_size=4)
    fit_backbone(model, split, config=FitConfig(epochs=40, check_every=40), observers=[observer])
    table = observer.table()
    assert table.columns == ["epoch", "part", "like_probability", "count"]
    assert (table["count"] == len(split.train)).all()
    assert (table["part"] == "item").all()
    error = table["like_probability"].std() / np.sqrt(40)
    assert abs(table["like_probability"].mean() - uniform_false_negative_rate(truth, split.train)) < 4 * error


def test_harder_negatives_are_false_more_often(store: tuple[Split, Truth]) -> None:
    split, truth = store
    rates = []
    for sampler in (Uniform(), DNS(candidates=10)):
        observer = SampledFalseNegatives(truth, split.train)
        model = LightGCNModel(split.train, embedding_size=16, hops=2)
        config = FitConfig(epochs=40, check_every=40, learning_rate=0.02)
        fit_backbone(model, split, sampler=sampler, config=config, observers=[observer])
        rates.append(observer.table()["like_probability"][-10:].mean())
    assert rates[1] > 1.5 * rates[0]


def test_vectors_are_measured_by_part_and_by_the_nearest_unobserved_item(tiny: tuple[Truth, Interactions]) -> None:
    truth, train = tiny
    observer = SampledFalseNegatives(truth, train)
    users, items = torch.eye(2), torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    batch = Batch(torch.tensor([0, 1]), torch.tensor([0, 1]), torch.tensor([0, 2]), epoch=1, step=0)
    vectors = torch.tensor([[[1.0, 0.1]], [[0.9, 0.2]]])  # nearest of all is item 0, which user 0 has
    sources = torch.tensor([[[1, -1]], [[0, 1]]])
    negatives = Vectors(vectors, vectors, sources, ("a", "b"))
    observer.see(batch, negatives, Embeddings((users,), (items,), "mean"))
    found = {part: (rate, count) for _, part, rate, count in observer.table().iter_rows()}
    low = 1 / (1 + np.exp(2.0))
    assert found["a"] == (pytest.approx((0.5 + low) / 2), 2)
    assert found["b"] == (pytest.approx(0.5), 1)
    assert found["nearest item"] == (pytest.approx((0.5 + low) / 2), 2)  # item 1 for user 0, item 0 for user 1


def test_examples_keep_the_last_epoch_of_the_chosen_users() -> None:
    examples = ExampleRecorder(np.array([1]))
    for epoch in (1, 2):
        batch = Batch(torch.arange(3), torch.tensor([0, 1, 1]), torch.tensor([5, 6, 7]), epoch=epoch, step=0)
        examples.see(batch, Items(torch.tensor([[8], [9], [10 + epoch]])), None)
    assert examples.table().rows() == [(1, 6, "item", 9), (1, 7, "item", 12)]


def test_held_out_pairs_in_the_place_of_the_truth(store: tuple[Split, Truth]) -> None:
    split, _ = store
    held_out = union(split.valid, split.test)
    observer, drawn = SampledFalseNegatives(HeldOutPairs(held_out), split.train), list[bool]()
    known = set(zip(held_out.users.tolist(), held_out.items.tolist(), strict=True))

    class Loop:
        """Counts pair by pair."""

        def reads_tables(self, step: int) -> bool:
            return False

        def see(self, batch: Batch, negatives: Items, embeddings: Embeddings | None) -> None:
            pairs = zip(batch.users.tolist(), negatives.items[:, 0].tolist(), strict=True)
            drawn.extend(pair in known for pair in pairs)

        def state(self) -> list[list[int]]:
            return []

        def restore(self, state: list[list[int]]) -> None:
            pass

    model = MFModel(split.train, embedding_size=4)
    fit_backbone(model, split, config=FitConfig(epochs=1, check_every=1), observers=[observer, Loop()])
    assert 0 < np.mean(drawn) < 0.5
    assert observer.table()["like_probability"].item() == pytest.approx(np.mean(drawn))
