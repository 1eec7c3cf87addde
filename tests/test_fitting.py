"""What reaches training and validation: train pairs alone, and validation pairs under the mask of train pairs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from hardneg import fitting
from hardneg.data import Interactions, Split
from hardneg.data.truth import Truth
from hardneg.fitting import FitInputs, fit_backbone
from hardneg.models import MF
from hardneg.training import FitConfig
from hardneg.types import Embeddings, Floats


def slow_recall(scores: Floats, held_out: Interactions, masked: Interactions, k: int) -> float:
    """Return the mean recall over users with held-out items, by sorting."""
    values = []
    for user in np.flatnonzero(held_out.counts):
        row = scores[user].copy()
        row[masked.items_of(user)] = -np.inf
        best = np.argsort(-row, kind="stable")[:k]
        values.append(np.isin(held_out.items_of(user), best).mean())
    return float(np.mean(values))


@pytest.fixture
def received(store: tuple[Split, Truth], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the loop is given, with and without pairs to exclude."""
    split, calls = store[0], dict[str, Any]()

    def note(model: Any, positives: Any, sampler: Any, candidates: Any, config: Any, **more: Any) -> None:
        calls.update(positives=positives, candidates=candidates, **more)

    monkeypatch.setattr(fitting, "fit_model", note)
    fit_backbone(MF(embedding_size=8).build(split.train, seed=0), split, config=FitConfig(select="recall@5"))
    return calls


def test_positives_and_the_exclusion_of_candidates_are_the_train_pairs(
    store: tuple[Split, Truth], received: dict[str, Any]
) -> None:
    split = store[0]
    assert received["positives"].train is split.train
    assert len(received["positives"]) == len(split.train)
    assert received["candidates"].excluded is split.train


def test_candidates_are_drawn_outside_the_pairs_to_exclude(
    store: tuple[Split, Truth], received: dict[str, Any]
) -> None:
    split = store[0]
    inputs = FitInputs(excluded=split.valid)
    fit_backbone(MF(embedding_size=8).build(split.train, seed=0), split, inputs=inputs)
    assert received["candidates"].excluded is split.valid
    assert received["positives"].train is split.train


def test_validation_ranks_validation_pairs_and_masks_train_pairs(
    store: tuple[Split, Truth], received: dict[str, Any]
) -> None:
    split, rng = store[0], np.random.default_rng(0)
    users, items = rng.random((split.train.n_users, 8)), rng.random((split.train.n_items, 8))
    tables = (torch.from_numpy(users).float(),), (torch.from_numpy(items).float(),)
    found = received["validate"](Embeddings(*tables, "mean"))["recall@5"]
    assert found == pytest.approx(slow_recall(users @ items.T, split.valid, split.train, 5))
    assert found != pytest.approx(slow_recall(users @ items.T, split.test, split.train, 5))
