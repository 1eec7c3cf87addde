"""Stochastic gradient descent pair by pair: a slow loop, resume, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.models import LightGCN, ModelConfig
from hardneg.models.config import MF
from hardneg.random import Stream, generator
from hardneg.sampling import DENS, DNS, MixGCF, SamplerConfig, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import ExtraPositives, FitConfig, Fitted, Positives, fit_model
from hardneg.training.sgd import descend
from hardneg.types import Embeddings

CONFIG = FitConfig(epochs=4, batch_size=16, learning_rate=0.1, l2=1e-2, check_every=2, seed=3, optimizer="sgd")


def by_norm(embeddings: Embeddings) -> Mapping[str, float]:
    return {"recall@20": float(embeddings.final_users.square().mean())}


def train(
    seen: Interactions | Positives,
    sampler: SamplerConfig | None = None,
    model: ModelConfig | None = None,
    config: FitConfig = CONFIG,
    **options: Any,
) -> Fitted:
    pairs = seen.train if isinstance(seen, Positives) else seen
    built = (model or MF(embedding_size=8)).build(pairs, seed=3)
    chosen = (sampler or Uniform()).build(SamplerInputs(built.final_size, None, 3))
    return fit_model(built, seen, chosen, UniformCandidates(pairs), config, **{"validate": by_norm, **options})


@pytest.mark.parametrize("n", [1, 3])
def test_it_equals_automatic_differentiation_one_pair_at_a_time(n: int) -> None:
    rng = np.random.default_rng(n)
    users, table = rng.standard_normal((4, 8)), rng.standard_normal((6, 8))
    pairs, items = rng.integers(4, size=20), np.array([rng.permutation(6)[: 1 + n] for _ in range(20)])
    slow, total = [torch.tensor(rows, requires_grad=True) for rows in (users, table)], 0.0
    for user, row in zip(pairs.tolist(), items.tolist(), strict=True):
        scores = slow[1][row] @ slow[0][user]
        loss = torch.log(1 + torch.exp(scores[1:] - scores[0]).sum())
        squares = slow[0][user].square().sum() + slow[1][row].square().sum()
        gradients = torch.autograd.grad(loss + 0.05 / 2 * squares, slow)
        with torch.no_grad():
            for rows, gradient in zip(slow, gradients, strict=True):
                rows.sub_(gradient, alpha=0.1)
        total += loss.item()
    fast = [rows.astype(np.float32) for rows in (users, table)]
    assert descend(pairs, items, *fast, 0.1, 0.05) == pytest.approx(total, rel=1e-5)
    for rows, expected in zip(fast, slow, strict=True):
        np.testing.assert_allclose(rows, expected.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_an_epoch_trains_on_every_pair_once_with_the_candidates_of_the_batch(seen: Interactions) -> None:
    fitted = train(seen, config=CONFIG.model_copy(update={"epochs": 1, "check_every": 1}))
    start = MF(embedding_size=8).build(seen, seed=3)
    users, table = start.users.detach().numpy(), start.items.detach().numpy()
    order = generator(3, "order", 1).permutation(len(seen))
    drawn = UniformCandidates(seen).draw(order, seen.users[order], n=1, stream=Stream(3, "candidates", 1))
    descend(seen.users[order], np.column_stack([seen.items[order], drawn]), users, table, 0.1, 1e-2)
    assert np.array_equal(fitted.model.users.detach().numpy(), users)
    assert np.array_equal(fitted.model.items.detach().numpy(), table)


@pytest.mark.parametrize("sampler", [Uniform(negatives=2), DNS(candidates=3)], ids=lambda s: s.kind)
def test_a_resumed_run_has_the_same_bits(seen: Interactions, sampler: SamplerConfig, tmp_path: Path) -> None:
    whole, steps = train(seen, sampler), iter(range(1000))

    def stop(*_: object) -> None:
        if next(steps) == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(seen, sampler, resume=CheckpointFile(tmp_path, "key"), watch=stop)
    resumed = train(seen, sampler, resume=CheckpointFile(tmp_path, "key"))
    assert resumed.state.curves == whole.state.curves
    assert torch.equal(resumed.model.items, whole.model.items)


def test_what_cannot_be_trained_so_is_refused(seen: Interactions) -> None:
    with pytest.raises(ConfigError, match="found LightGCNModel on cpu"):
        train(seen, model=LightGCN(embedding_size=8, hops=1))
    with pytest.raises(ConfigError, match="found 'hinge'"):
        train(seen, config=FitConfig.model_validate({**CONFIG.model_dump(), "loss": {"kind": "hinge"}}))
    for sampler in (MixGCF(candidates=3), DENS(candidates=3)):
        with pytest.raises(ConfigError, match="choose the sampler uniform or dns"):
            train(seen, sampler)
    other = np.setdiff1d(np.arange(12), seen.items[seen.users == 0])[:1]
    extra = ExtraPositives(Interactions.of(np.zeros(1, np.int64), other, n_users=6, n_items=12), 0.5)
    with pytest.raises(ConfigError, match="weights of extra positives"):
        train(Positives(seen, extra))
