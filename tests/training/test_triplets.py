"""Triplets of a judge in the loss: a slow loop, gradients, and no effect at weight 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.models import LightGCNModel, MFModel
from hardneg.random import Stream
from hardneg.sampling import Uniform, UniformCandidates
from hardneg.training import FitConfig, Fitted, JudgedTriplets, Positives, fit_model
from hardneg.types import Batch, Embeddings

LIKED, DISLIKED = np.array([0, 3, -1, 5, 2, 3]), np.array([8, 9, -1, 1, 6, 0])
CONFIG = FitConfig(epochs=3, batch_size=16, learning_rate=0.05, l2=1e-2, check_every=2, seed=3)


def whole_batch(seen: Interactions, epoch: int = 1) -> Batch:
    arrays = np.arange(len(seen)), seen.users, seen.items
    return Batch(*(torch.from_numpy(array) for array in arrays), epoch=epoch, step=0)


def slow_loss(judged: JudgedTriplets, seen: Interactions, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
    """One training pair at a time."""
    losses = []
    for row, user in enumerate(seen.users):
        unit = Stream(3, "judged triplets", 1).uniform(np.array([row]), 1)[0, 0]
        if unit < judged.share and judged.liked[user] >= 0:
            liked, disliked = items[judged.liked[user]], items[judged.disliked[user]]
            losses.append(-torch.log(torch.sigmoid(users[user] @ liked - users[user] @ disliked)))
    kept = sorted(losses, key=torch.Tensor.item)[: max(len(losses) - round(judged.prune * len(losses)), 1)]
    return judged.weight * torch.stack(kept).sum() / len(seen)


@pytest.mark.parametrize(("share", "prune"), [(1.0, 0.0), (0.5, 0.4), (1.0, 0.99)])
def test_the_loss_equals_the_slow_loop_with_its_gradients(seen: Interactions, share: float, prune: float) -> None:
    judged = JudgedTriplets(LIKED, DISLIKED, share, prune, 0.7)
    tables = [torch.randn(n, 4, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (6, 12)]
    others = [table.detach().double().requires_grad_() for table in tables]
    triplets = judged.of_batch(whole_batch(seen), 3)
    assert triplets is not None
    assert 2 not in triplets.users
    loss = judged.loss(triplets, Embeddings((tables[0],), (tables[1],), "mean"), len(seen))
    expected = slow_loss(judged, seen, *others)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table.grad.to_dense().double(), other.grad, rtol=1e-4, atol=1e-6)


def fit(seen: Interactions, judged: JudgedTriplets | None, **options: Any) -> Fitted:
    model = LightGCNModel(seen, embedding_size=8, hops=2, seed=3)
    positives = Positives(seen, triplets=judged)
    return fit_model(model, positives, Uniform(), UniformCandidates(seen), CONFIG, validate=None, **options)


class _ReadsAll:
    """An observer for which every step computes all rows."""

    def reads_tables(self, step: int) -> bool:
        return True

    def see(self, *_: object) -> None: ...

    def state(self) -> list[list[Any]]:
        return []

    def restore(self, state: list[list[Any]]) -> None: ...


def test_triplets_change_training_and_read_only_computed_rows(
    seen: Interactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARDNEG_KERNEL", "numba")  # which computes required rows alone
    judged = JudgedTriplets(LIKED, DISLIKED, share=1.0, prune=0.2)
    plain, fitted, whole = fit(seen, None), fit(seen, judged), fit(seen, judged, observers=[_ReadsAll()])
    assert not torch.equal(plain.embeddings.final_items, fitted.embeddings.final_items)
    torch.testing.assert_close(fitted.embeddings.final_items, whole.embeddings.final_items)


def test_weight_0_and_users_without_triplets_train_to_the_bit_as_without(seen: Interactions) -> None:
    nobody = np.full(6, -1)
    plain = fit(seen, None)
    for judged in (JudgedTriplets(LIKED, DISLIKED, 1.0, weight=0), JudgedTriplets(nobody, nobody, 1.0)):
        assert torch.equal(plain.embeddings.final_items, fit(seen, judged).embeddings.final_items)


def test_liked_candidates_gain_and_disliked_lose(seen: Interactions) -> None:
    config = CONFIG.model_copy(update={"epochs": 20})

    def margins(judged: JudgedTriplets | None) -> np.ndarray:
        model = MFModel(seen, embedding_size=8, seed=3)
        positives, source = Positives(seen, triplets=judged), UniformCandidates(seen)
        fitted = fit_model(model, positives, Uniform(), source, config, validate=None)
        users = fitted.embeddings.final_users.detach().numpy()
        items = fitted.embeddings.final_items.detach().numpy()
        return np.einsum("ud,ud->u", users, items[LIKED] - items[DISLIKED])[LIKED >= 0]

    assert (margins(JudgedTriplets(LIKED, DISLIKED, 1.0, 0.0, 5.0)) > margins(None)).all()


def test_the_share_of_pairs_is_met_and_changes_with_the_epoch(seen: Interactions) -> None:
    everybody = JudgedTriplets(np.zeros(6, np.int64), np.ones(6, np.int64), share=0.25)
    rows = torch.arange(8000)
    drawn = [
        everybody.of_batch(Batch(rows, rows % 6, rows % 12, epoch, 0), seed) for epoch, seed in ((1, 0), (2, 0), (1, 0))
    ]
    assert len(drawn[0].users) / 8000 == pytest.approx(0.25, abs=0.02)
    assert torch.equal(drawn[0].users, drawn[2].users)
    assert len(drawn[0].users) != len(drawn[1].users) or not torch.equal(drawn[0].users, drawn[1].users)
    assert JudgedTriplets(LIKED, DISLIKED).of_batch(Batch(rows[:1], rows[2:3], rows[:1], 1, 0), 0) is None


def test_invalid_triplets_are_refused() -> None:
    with pytest.raises(DataError, match="both or neither"):
        JudgedTriplets(LIKED, np.full(6, -1))
    for settings in ({"share": 0.0}, {"share": 1.5}, {"prune": 1.0}, {"weight": -1.0}, {"weight": float("nan")}):
        with pytest.raises(DataError, match="expected a share above 0"):
            JudgedTriplets(LIKED, DISLIKED, **settings)
