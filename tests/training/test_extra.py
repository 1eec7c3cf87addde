"""Extra positives: pair indices, weights in the loss, and no effect at weight 0."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.data.interactions import union
from hardneg.errors import DataError
from hardneg.models import LightGCNModel, MFModel
from hardneg.random import Stream
from hardneg.sampling import DNS, MinedNegatives, MixGCF, SamplerInputs, Semantic, Uniform, UniformCandidates
from hardneg.training import ExtraPositives, FitConfig, Fitted, fit_model
from hardneg.training.objective import Positives, objective
from hardneg.types import Batch, Embeddings

CONFIG = FitConfig(epochs=4, batch_size=16, learning_rate=0.05, l2=1e-2, check_every=2, seed=3)
SAMPLERS = {
    "uniform": Uniform(),
    "dns": DNS(candidates=3),
    "mixgcf": MixGCF(candidates=3),
    "semantic": Semantic(align_weight=0.1),
}


@pytest.fixture
def extra(seen: Interactions) -> Interactions:
    """Two or three pairs of every user but the last that were not observed."""
    users = np.repeat(np.arange(5), 3)
    items = np.array([1, 4, 9] * 5)
    fresh = ~seen.contains(users, items)
    return Interactions.of(users[fresh], items[fresh], n_users=6, n_items=12)


def train(seen: Interactions, name: str, extra: ExtraPositives | None, model: type = LightGCNModel) -> Fitted:
    vectors = np.random.default_rng(5).normal(size=(len(seen), 5)).astype(np.float16)
    mined = MinedNegatives(np.full((len(seen), 1), 2), vectors, "made up")
    backbone = model(seen, embedding_size=8, seed=3)
    sampler = SAMPLERS[name].build(SamplerInputs(8, mined, 3))

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        return {"recall@20": float(embeddings.final_users.detach().square().mean())}

    return fit_model(backbone, Positives(seen, extra), sampler, UniformCandidates(seen), CONFIG, validate=validate)


def same(one: Fitted, other: Fitted) -> bool:
    a, b = one.model.state_dict(), other.model.state_dict()
    return one.state.curves == other.state.curves and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("model", [MFModel, LightGCNModel])
def test_weight_0_is_training_without_to_the_bit_and_any_other_weight_is_not(
    seen: Interactions, extra: Interactions, name: str, model: type
) -> None:
    without = train(seen, name, None, model)
    assert same(without, train(seen, name, ExtraPositives(extra, 0.0), model))
    weighted = [train(seen, name, ExtraPositives(extra, weight), model) for weight in (0.01, 0.5, 1.0)]
    for one, other in zip([without, *weighted], weighted, strict=False):
        assert not same(one, other)


def test_rows_of_extra_pairs_come_after_those_of_train_pairs(seen: Interactions, extra: Interactions) -> None:
    positives = Positives(seen, ExtraPositives(extra, 0.5))
    n = len(seen)
    assert (positives.users[:n] == seen.users).all()
    assert (positives.items[n:] == extra.items).all()
    rows, n_train = positives.train_first(np.array([n + 2, 3, n, 1, 7]))
    assert rows.tolist() == [3, 1, 7, n + 2, n]
    assert n_train == 3
    assert len(Positives(seen, ExtraPositives(extra, 0.0))) == n


@pytest.mark.parametrize("name", ["uniform", "mixgcf"])
@pytest.mark.parametrize("weight", [0.3, 1.0, 2.0])
def test_the_weighted_loss_is_the_weighted_mean_of_the_pairs_losses(
    seen: Interactions, extra: Interactions, name: str, weight: float
) -> None:
    """Reference: one pair at a time through the plain objective."""
    positives = Positives(seen, ExtraPositives(extra, weight))
    rows, n_train = positives.train_first(np.arange(0, len(positives), 2))
    embeddings = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()
    sampler = SAMPLERS[name].build(SamplerInputs(8, None, 0))
    candidates = torch.from_numpy(np.random.default_rng(0).integers(12, size=(len(rows), sampler.n_candidates)))

    def batch(chosen: np.ndarray) -> Batch:
        arrays = (chosen, positives.users[chosen], positives.items[chosen])
        return Batch(*(torch.from_numpy(array) for array in arrays), epoch=1, step=0)

    stream = Stream(0, "sampler", 1)
    whole = batch(rows)
    negatives = sampler.sample(whole, embeddings, candidates, stream)
    result = objective(whole, embeddings, negatives, 0.1, n_train=n_train, extra_weight=weight)
    total = 0.0
    for place in range(len(rows)):
        one = batch(rows[place : place + 1])
        loss = objective(one, embeddings, sampler.sample(one, embeddings, candidates[place : place + 1], stream), 0.1)
        total += (1.0 if place < n_train else weight) * float(loss.detach())
    assert float(result.detach()) == pytest.approx(total / (n_train + weight * (len(rows) - n_train)), rel=1e-5)


def test_a_weight_of_1_equals_a_train_pair(seen: Interactions, extra: Interactions) -> None:
    """An epoch in one batch: the gradient does not see which rows are extra."""
    config = CONFIG.model_copy(update={"epochs": 3, "batch_size": 1000})
    both = union(seen, extra)

    def trained(train: Interactions, more: ExtraPositives | None) -> torch.Tensor:
        candidates = _Fixed()
        model = MFModel(train, embedding_size=8, seed=3)
        options = {"validate": lambda _: {"recall@20": 0.0}}
        settings = config.model_copy(update={"patience": 9})
        fitted = fit_model(model, Positives(train, more), Uniform(), candidates, settings, **options)
        return fitted.embeddings.final_items

    separate, together = trained(seen, ExtraPositives(extra)), trained(both, None)
    torch.testing.assert_close(separate, together, rtol=1e-4, atol=1e-5)


class _Fixed:
    """A candidate that depends on the user alone."""

    def draw(self, rows: np.ndarray, users: np.ndarray, *, n: int, stream: Stream) -> np.ndarray:
        return np.repeat(((users * 5 + 2) % 12)[:, None], n, axis=1)


def test_an_extra_pair_has_no_mined_vector(seen: Interactions, extra: Interactions) -> None:
    fitted = train(seen, "semantic", ExtraPositives(extra))
    counters = fitted.state.counters
    assert counters["pairs"] == 4 * (len(seen) + len(extra))
    assert counters["pairs without a vector"] == 4 * len(extra)


def test_invalid_extra_positives_are_refused(seen: Interactions, extra: Interactions) -> None:
    with pytest.raises(DataError, match="weight -1"):
        ExtraPositives(extra, -1)
    with pytest.raises(DataError, match="weight nan"):
        ExtraPositives(extra, float("nan"))
    with pytest.raises(DataError, match=r"\d+ train pairs"):
        Positives(seen, ExtraPositives(seen))
    with pytest.raises(DataError, match="2 users and 3 items"):
        Positives(seen, ExtraPositives(Interactions.of(np.array([0]), np.array([0]), n_users=2, n_items=3)))
