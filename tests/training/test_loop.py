"""The training loop: a hand-written step, seeds, resume, early stopping."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Interactions
from hardneg.data.truth import Truth
from hardneg.diagnostics import ExampleRecorder, SampledFalseNegatives
from hardneg.errors import ConfigError, DataError, TrainingDivergedError
from hardneg.mining.retrieval import draw_at_random
from hardneg.models import Anchor, LightGCNModel, MFModel
from hardneg.random import Stream, generator
from hardneg.sampling import (
    DNS,
    MinedNegatives,
    MixGCF,
    NegativeSampler,
    SamplerInputs,
    Semantic,
    SemanticMixing,
    Uniform,
    UniformCandidates,
)
from hardneg.training import FitConfig, Fitted, fit_model, loop
from hardneg.types import Batch, Embeddings, Negatives, Observer

CONFIG = FitConfig(epochs=4, batch_size=16, learning_rate=0.05, l2=1e-2, check_every=2, seed=3)


def constant(_: Embeddings) -> Mapping[str, float]:
    return {"recall@20": 0.5}


def by_norm(embeddings: Embeddings) -> Mapping[str, float]:
    return {"recall@20": float(embeddings.final_users.square().mean())}


def made(seen: Interactions, name: str) -> tuple[nn.Module, NegativeSampler]:
    vectors = np.random.default_rng(5).normal(size=(len(seen), 5)).astype(np.float16)
    mined = MinedNegatives(np.full((len(seen), 1), -1), vectors, "made up")
    samplers = {"uniform": Uniform(), "dns": DNS(candidates=3), "mixgcf": MixGCF(candidates=3), "semantic": Semantic()}
    samplers["semantic-mixing"] = SemanticMixing(sampler=MixGCF(candidates=3), neighbours=4)
    near = draw_at_random(seen.n_items, 4, np.random.default_rng(6))
    return LightGCNModel(seen, embedding_size=8, hops=2, seed=3), samplers[name].build(SamplerInputs(8, mined, 3, near))


def train(seen: Interactions, name: str = "mixgcf", config: FitConfig = CONFIG, **more: object) -> Fitted:
    model, sampler = made(seen, name)
    options = {"validate": by_norm, **more}
    return fit_model(model, seen, sampler, UniformCandidates(seen), config, **options)


def state(fitted: Fitted) -> dict[str, torch.Tensor]:
    return fitted.model.state_dict()


def same(one: Fitted, other: Fitted) -> bool:
    a, b = state(one), state(other)
    return one.state.curves == other.state.curves and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("choose", ["uniform", "dns"])
def test_one_step_equals_a_hand_written_one(seen: Interactions, choose: str) -> None:
    """LightGCN with dense matrices, BPR and L2 by pair, one Adam step from its definition."""
    config = CONFIG.model_copy(update={"epochs": 1, "batch_size": 1024, "check_every": 1})
    model, sampler = made(seen, choose)
    start = {name: value.double().numpy().copy() for name, value in model.state_dict().items()}
    fitted = fit_model(model, seen, sampler, UniformCandidates(seen), config, validate=constant)
    users, items = (torch.tensor(start[name], requires_grad=True) for name in ("users", "items"))
    adjacency = torch.zeros(18, 18, dtype=torch.float64)
    for u, i in zip(seen.users, seen.items, strict=True):
        adjacency[u, 6 + i] = adjacency[6 + i, u] = 1 / math.sqrt(seen.counts[u] * seen.item_counts[i])
    table = torch.cat([users, items])
    final = (table + adjacency @ table + adjacency @ adjacency @ table) / 3
    order = generator(3, "order", 1).permutation(len(seen))
    n = sampler.n_candidates
    drawn = UniformCandidates(seen).draw(order, seen.users[order], n=n, stream=Stream(3, "candidates", 1))
    total = torch.zeros((), dtype=torch.float64)
    for row, candidates in zip(order, drawn, strict=True):
        u, i = seen.users[row], seen.items[row]
        j = max(candidates, key=lambda item: float(final[u].detach() @ final[6 + item].detach()))
        total = total - torch.log(torch.sigmoid(final[u] @ final[6 + i] - final[u] @ final[6 + j]))
        total = total + config.l2 / 2 * (users[u].square().sum() + items[i].square().sum() + items[j].square().sum())
    (total / len(seen)).backward()
    assert fitted.state.curves[0]["value"] == pytest.approx(total.item() / len(seen), rel=1e-5)
    for name, leaf in (("users", users), ("items", items)):
        gradient = leaf.grad
        m, v = 0.1 * gradient, 0.001 * gradient.square()
        step = config.learning_rate * (m / 0.1) / ((v / 0.001).sqrt() + 1e-8)
        np.testing.assert_allclose(state(fitted)[name], (leaf - step).detach(), atol=2e-5)


@pytest.mark.parametrize("name", ["uniform", "dns", "mixgcf", "semantic", "semantic-mixing"])
def test_same_seed_same_bits_other_seed_others(seen: Interactions, name: str) -> None:
    one, two = train(seen, name), train(seen, name)
    assert same(one, two)
    assert not same(one, train(seen, name, CONFIG.model_copy(update={"seed": 4})))


@pytest.mark.parametrize("name", ["uniform", "mixgcf", "semantic", "semantic-mixing"])
def test_a_resumed_run_equals_an_uninterrupted_one(seen: Interactions, name: str, tmp_path: Path) -> None:
    whole = train(seen, name)
    for stop_at in (0, 3, 5, 7):
        folder = tmp_path / str(stop_at)
        folder.mkdir()
        steps = iter(range(1000))

        def stop(*_: object, steps: object = steps, stop_at: int = stop_at) -> None:
            if next(steps) == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            train(seen, name, resume=CheckpointFile(folder, "key"), watch=stop)
        assert same(whole, train(seen, name, resume=CheckpointFile(folder, "key")))


def test_observers_resume(seen: Interactions, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    truth = Truth(rng.normal(size=(6, 3)), rng.normal(size=(12, 3)), np.zeros(12), np.zeros(6))

    def observers() -> list[Observer]:
        return [SampledFalseNegatives(truth, seen), ExampleRecorder(np.array([0, 2]))]

    whole, resumed = observers(), observers()
    train(seen, observers=whole)
    looks = iter(range(10))

    def stop_after_a_look(embeddings: Embeddings) -> Mapping[str, float]:
        if next(looks) == 1:
            raise KeyboardInterrupt
        return by_norm(embeddings)

    with pytest.raises(KeyboardInterrupt):
        train(seen, observers=observers(), resume=CheckpointFile(tmp_path, "key"), validate=stop_after_a_look)
    train(seen, observers=resumed, resume=CheckpointFile(tmp_path, "key"))
    assert whole[0].table().equals(resumed[0].table())
    assert whole[1].table().equals(resumed[1].table())
    assert whole[0].table()["epoch"].n_unique() == 4


def test_observers_change_nothing(seen: Interactions) -> None:
    truth = Truth(np.zeros((6, 1)), np.zeros((12, 1)), np.zeros(12), np.zeros(6))
    assert same(train(seen), train(seen, observers=[SampledFalseNegatives(truth, seen), ExampleRecorder(np.arange(3))]))


def test_a_checkpoint_of_other_settings_is_refused(seen: Interactions, tmp_path: Path) -> None:
    train(seen, resume=CheckpointFile(tmp_path, "key"))
    with pytest.raises(DataError, match=r"checkpoint.safetensors"):
        train(seen, resume=CheckpointFile(tmp_path, "another key"))


def test_a_broken_checkpoint_is_refused(seen: Interactions, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"\x00" * 50)
    with pytest.raises(DataError, match=r"checkpoint.safetensors"):
        train(seen, resume=CheckpointFile(tmp_path, "key"))


def test_every_random_number_has_the_seed_and_the_epoch(seen: Interactions, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = set[tuple[object, ...]]()

    def note(real: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values: calls.add(values) or real(*values)

    for name in ("generator", "Stream"):
        monkeypatch.setattr(loop, name, note(getattr(loop, name)))
    train(seen, "mixgcf", CONFIG.model_copy(update={"epochs": 2}))
    assert calls == {(3, name, epoch) for name in ("order", "candidates", "sampler") for epoch in (1, 2)}


def test_every_parameter_of_the_sampler_is_trained(seen: Interactions) -> None:
    model, sampler = made(seen, "semantic")
    assert isinstance(sampler, nn.Module)
    before = {name: value.clone() for name, value in sampler.named_parameters()}
    fit_model(model, seen, sampler, UniformCandidates(seen), CONFIG, validate=constant)
    assert before
    assert not any(torch.equal(before[name], value) for name, value in sampler.named_parameters())


def test_training_stops_after_patience_and_restores_the_best_epoch(seen: Interactions) -> None:
    values, user_tables = iter([0.1, 0.3, 0.2, 0.2, 0.9]), []

    def validate(embeddings: Embeddings) -> Mapping[str, float]:
        user_tables.append(embeddings.users[0].detach().clone())
        return {"recall@20": next(values)}

    config = CONFIG.model_copy(update={"epochs": 50, "check_every": 3, "patience": 2})
    fitted = train(seen, config=config, validate=validate)
    assert (fitted.state.best_iteration, fitted.state.iteration) == (6, 12)
    assert torch.equal(fitted.model.users, user_tables[1])
    assert not torch.equal(user_tables[1], user_tables[3])


def test_the_loss_falls(seen: Interactions) -> None:
    fitted = train(seen, "uniform", CONFIG.model_copy(update={"epochs": 30, "l2": 0.0}))
    losses = [row["value"] for row in fitted.state.curves if row["metric"] == "loss"]
    assert len(losses) == 30
    assert losses[-1] < 0.5 * losses[0]


def test_a_selection_that_is_not_measured_is_refused(seen: Interactions) -> None:
    with pytest.raises(ConfigError, match=r"ndcg@5.*recall@20"):
        train(seen, config=CONFIG.model_copy(update={"select": "ndcg@5"}))


def test_a_diverged_loss_is_an_error(seen: Interactions) -> None:
    model = MFModel(seen, embedding_size=8)
    with torch.no_grad():
        model.users.fill_(float("nan"))
    with pytest.raises(TrainingDivergedError, match="nan in epoch 1, step 0"):
        fit_model(model, seen, Uniform(), UniformCandidates(seen), CONFIG, validate=constant)


def test_pairs_without_a_vector_are_counted(seen: Interactions) -> None:
    model, sampler = made(seen, "semantic")
    sampler.mined.vectors[:7] = np.nan
    fitted = fit_model(model, seen, sampler, UniformCandidates(seen), CONFIG, validate=constant)
    assert fitted.state.counters == {"pairs": 4 * len(seen), "pairs without a vector": 4 * 7}


def losses(fitted: Fitted) -> list[float]:
    return [float(row["value"]) for row in fitted.state.curves]


@pytest.mark.parametrize("name", ["uniform", "dns", "mixgcf", "semantic"])
def test_threads_change_metrics_by_rounding_alone(seen: Interactions, name: str) -> None:
    one = losses(train(seen, name))
    torch.set_num_threads(3)
    try:
        other = losses(train(seen, name))
    finally:
        torch.set_num_threads(1)
    np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("name", ["uniform", "mixgcf"])
def test_either_kernel_gives_the_same_loss_curve(
    seen: Interactions, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"epochs": 20})
    curves = []
    for kernel in ("numba", "mkl"):
        monkeypatch.setenv("HARDNEG_KERNEL", kernel)
        curves.append(losses(train(seen, name, config)))
    np.testing.assert_allclose(*curves, rtol=1e-4)


def test_16_bits_give_the_same_loss_curve(seen: Interactions) -> None:
    config = CONFIG.model_copy(update={"epochs": 20, "learning_rate": 0.01})
    curves = []
    for storage in ("float32", "float16"):
        model = LightGCNModel(seen, embedding_size=64, hops=3, storage=storage, seed=3)
        fitted = fit_model(model, seen, Uniform(), UniformCandidates(seen), config, validate=constant)
        curves.append(losses(fitted))
    np.testing.assert_allclose(*curves, rtol=1e-4)
    assert curves[0] != curves[1], "16 bits were really used"


def test_candidates_do_not_depend_on_the_batch_size(seen: Interactions) -> None:
    """Random numbers belong to pairs, so other batches have the same candidates."""
    drawn_negatives: list[dict[int, int]] = []

    class Recorder(ExampleRecorder):
        def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
            drawn_negatives[-1] |= dict(zip(batch.rows.tolist(), negatives.items[:, 0].tolist(), strict=True))

    for size in (7, 64):
        drawn_negatives.append({})
        config = CONFIG.model_copy(update={"epochs": 1, "batch_size": size, "check_every": 1})
        train(seen, "uniform", config, observers=[Recorder(np.arange(0))])
    assert drawn_negatives[0] == drawn_negatives[1]
    assert len(drawn_negatives[0]) == len(seen)


def test_an_anchor_of_weight_0_changes_no_bit_and_one_with_weight_holds_items(seen: Interactions) -> None:
    places = np.random.default_rng(7).normal(size=(12, 8)).astype(np.float32)
    free = train(seen)
    assert same(free, train(seen, anchor=Anchor(places, 0.0)))
    distances = [
        float((result.model.items.detach() - torch.from_numpy(places)).norm())
        for result in (free, train(seen, anchor=Anchor(places, 1.0)), train(seen, anchor=Anchor(places, 100.0)))
    ]
    assert distances[0] > distances[1] > distances[2]
