"""Vectors served, epoch by epoch: known answers, and a training that does not notice."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hardneg.data import Interactions
from hardneg.diagnostics import SampledVectors
from hardneg.diagnostics.sampled_vectors import SCHEMA
from hardneg.models import MFModel
from hardneg.sampling import (
    MinedNegatives,
    MixGCF,
    NegativeSampler,
    SamplerInputs,
    Semantic,
    Uniform,
    UniformCandidates,
)
from hardneg.training import FitConfig, Fitted, fit
from hardneg.types import Batch, Embeddings, Items, Observer, Vectors


@pytest.fixture
def held_out_pairs(seen: Interactions) -> Interactions:
    """Of every user but 4, the first item outside train; user 5 has item 3 alone left."""
    users = np.array([0, 1, 2, 3, 5])
    items = np.array([np.setdiff1d(np.arange(12), seen.items_of(int(user)))[0] for user in users])
    return Interactions.of(users, items, n_users=6, n_items=12)


def tables(rng: np.random.Generator) -> Embeddings:
    users, items = (torch.from_numpy(rng.normal(size=(n, 8)).astype(np.float32)) for n in (6, 12))
    return Embeddings((users,), (items,), "mean")


def whole(seen: Interactions, step: int = 0) -> Batch:
    rows, users, positives = (torch.from_numpy(a) for a in (np.arange(len(seen)), seen.users, seen.items))
    return Batch(rows, users, positives, epoch=1, step=step)


def test_an_item_is_false_where_it_is_held_out(
    seen: Interactions, held_out_pairs: Interactions, rng: np.random.Generator
) -> None:
    batch = whole(seen)
    items = rng.integers(12, size=len(seen))
    items[:10] = [(held_out_pairs.items_of(int(u)).tolist() or [0])[0] for u in seen.users[:10]]
    observer = SampledVectors(held_out_pairs)
    observer.see(batch, Items(torch.from_numpy(items).unsqueeze(1)), tables(rng))
    (row,) = observer.table().rows(named=True)
    known = seen.users != 4
    assert row["measured"] == known.sum()
    assert row["false"] == pytest.approx(held_out_pairs.contains(seen.users, items)[known].mean())
    assert row["random_false"] < row["false"]
    assert row["cosine_with_nearest"] == pytest.approx(1.0)
    assert (row["vectors"], row["pairs"]) == ("served", len(seen))


def test_what_was_made_stands_beside_what_was_served(
    seen: Interactions, held_out_pairs: Interactions, rng: np.random.Generator
) -> None:
    batch, embeddings = whole(seen), tables(rng)
    hard = embeddings.final_items[batch.positives].unsqueeze(1).clone()
    hard[::2] = torch.nan
    mixed = torch.ones(len(seen), 1, 8)
    sources = torch.zeros(len(seen), 1, 1, dtype=torch.int64)
    observer = SampledVectors(held_out_pairs)
    observer.see(batch, Vectors(mixed, mixed, sources, ("item",), hard=hard), embeddings)
    served, made = observer.table().rows(named=True)
    assert (made["vectors"], made["pairs"]) == ("e_hard", len(seen) // 2)
    assert made["cosine_with_positives"] == pytest.approx(1.0)
    assert made["cka_with_positives"] == pytest.approx(1.0)
    assert served["cka_with_positives"] is None, "equal vectors: undefined, and no error in the midst of training"


def test_only_the_first_step_of_an_epoch_is_measured(
    seen: Interactions, held_out_pairs: Interactions, rng: np.random.Generator
) -> None:
    observer = SampledVectors(held_out_pairs)
    observer.see(whole(seen, step=1), Items(torch.zeros(len(seen), 1, dtype=torch.int64)), tables(rng))
    assert observer.table().is_empty()
    assert dict(observer.table().schema) == SCHEMA


def trained(seen: Interactions, sampler: NegativeSampler, observers: list[Observer]) -> Fitted:
    config = FitConfig(epochs=3, batch_size=16, check_every=3)
    model = MFModel(seen, embedding_size=8, seed=3)
    source = UniformCandidates(seen)
    return fit(model, seen, sampler, source, config, validate=lambda _: {"recall@20": 0.5}, observers=observers)


@pytest.mark.parametrize("options", [Uniform(), MixGCF(candidates=3), Semantic()])
def test_training_does_not_notice(seen: Interactions, held_out_pairs: Interactions, options: object) -> None:
    vectors = np.random.default_rng(5).normal(size=(len(seen), 5)).astype(np.float16)
    mined = MinedNegatives(np.full((len(seen), 1), -1), vectors, "made up")
    observer = SampledVectors(held_out_pairs)
    one, other = (trained(seen, options.build(SamplerInputs(8, mined, 3)), watch) for watch in ([observer], []))
    assert torch.equal(one.model.items, other.model.items)
    assert one.progressed.curves == other.progressed.curves
    parts = ["served", "e_hard"] if isinstance(options, Semantic) else ["served"]
    assert observer.table()["vectors"].to_list() == parts * 3
    again = SampledVectors(held_out_pairs)
    again.restore(observer.state())
    assert again.table().equals(observer.table())
