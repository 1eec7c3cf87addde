"""Gradients of the loss, term by term: they add up to training's own, and equal differences of a slow loop."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from diagnostics.loss_gradients import (
    ALIGNMENT,
    BPR,
    BPR_HARD,
    BPR_POSITIVE,
    BPR_TERMS,
    BPR_UNIFORM,
    L2,
    PROJECTOR,
    TERMS,
    compute_loss_gradients,
    differentiate,
    loss_terms,
)
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.errors import DataError
from hardneg.models import LightGCNModel, MFModel
from hardneg.models.propagation import to_dense
from hardneg.random import Stream
from hardneg.sampling import MinedNegatives, SamplerInputs, Semantic, UniformCandidates
from hardneg.sampling.semantic import SemanticSampler
from hardneg.training import objective
from hardneg.types import Batch

STREAM = Stream(2, "sampler", 1)
L2_WEIGHT = 0.3
FORMS = [
    {"match_norm": match, "detach_projector": detach, "negatives": n}
    for match in (False, True)
    for detach in (False, True)
    for n in (1, 3)
]


@pytest.fixture
def batch(seen: Interactions) -> Batch:
    rows = np.arange(0, len(seen), 2)
    return Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), epoch=1, step=0)


def made(seen: Interactions, **options: object) -> SemanticSampler:
    vectors = np.random.default_rng(5).normal(size=(len(seen), 5)).astype(np.float16)
    vectors[::4] = np.nan
    mined = MinedNegatives(np.full((len(seen), 1), -1), vectors, "made up")
    given = {"hidden_size": 16, "alpha": 0.3, "align_weight": 0.5, "projector_l2": 0.2, **options}
    return Semantic.model_validate(given).build(SamplerInputs(8, mined, 3))


def drawn(sampler: SemanticSampler, seen: Interactions, batch: Batch) -> Tensor:
    rows, users = batch.rows.numpy(), batch.users.numpy()
    items = UniformCandidates(seen).draw(rows, users, n=sampler.n_candidates, stream=Stream(0, "drawn", 1))
    return torch.from_numpy(items)


def groups_of(model: nn.Module, sampler: SemanticSampler) -> dict[str, list[Tensor]]:
    return {"users": [model.users], "items": [model.items], PROJECTOR: list(sampler.parameters())}


@pytest.mark.parametrize("backbone", ["mf", "lightgcn"])
@pytest.mark.parametrize("options", [*FORMS, {"without_alignment": True, "detach_projector": True}, {"candidates": 4}])
def test_terms_add_up_to_the_training_objective(
    seen: Interactions, batch: Batch, backbone: str, options: dict[str, object]
) -> None:
    sampler = made(seen, **options)
    model = (
        MFModel(seen, embedding_size=8, seed=1) if backbone == "mf" else LightGCNModel(seen, embedding_size=8, seed=1)
    )
    with torch.no_grad():
        model.items *= 3  # slopes that differ from a half
    candidates, parts = drawn(sampler, seen, batch), groups_of(model, sampler)
    found = differentiate(loss_terms(sampler, batch, model(), candidates, STREAM, l2_weight=L2_WEIGHT), parts)
    embeddings = model()
    whole = objective(batch, embeddings, sampler.sample(batch, embeddings, candidates, STREAM), L2_WEIGHT)
    for part, tensors in parts.items():
        own = torch.autograd.grad(whole, tensors, allow_unused=True, retain_graph=True)
        flat = [torch.zeros_like(t) if g is None else to_dense(g) for t, g in zip(tensors, own, strict=True)]
        expected = torch.cat([g.flatten() for g in flat])
        total = torch.stack([found[term][part] for term in TERMS]).sum(dim=0)
        torch.testing.assert_close(total, expected, rtol=1e-4, atol=1e-7)
        if part != PROJECTOR or sampler.options.trains_projector:
            assert expected.norm() > 0


def test_which_parameters_each_term_reaches(seen: Interactions, batch: Batch) -> None:
    """MF: e_hard meets users alone, and the positive's and uniform items' terms never meet the projector."""
    model = MFModel(seen, embedding_size=8, seed=1)
    for detach in (False, True):
        sampler = made(seen, detach_projector=detach)
        norms = compute_loss_gradients(
            model, sampler, [(batch, drawn(sampler, seen, batch))], STREAM, l2_weight=0.1
        ).norms
        reached = {term: {part for part, norm in norms[term].items() if norm > 0} for term in TERMS}
        tables = {"users", "items"}
        assert reached[BPR_POSITIVE] == reached[BPR_UNIFORM] == tables
        assert reached[BPR_HARD] == ({"users"} if detach else {"users", PROJECTOR})
        assert reached[ALIGNMENT] == reached[L2] == tables | {PROJECTOR}


def test_the_gradients_equal_a_slow_loop(seen: Interactions, batch: Batch) -> None:
    """MF, the literal form: pair by pair, formulas written out."""
    model, sampler = MFModel(seen, embedding_size=8, seed=1), made(seen, match_norm=False)
    candidates = drawn(sampler, seen, batch)
    terms = loss_terms(sampler, batch, model(), candidates, STREAM, l2_weight=L2_WEIGHT)
    found = differentiate(terms, {"users": [model.users], "items": [model.items]})
    users, items = model.users.detach().numpy().astype(float), model.items.detach().numpy().astype(float)
    expected = {
        term: (np.zeros_like(users), np.zeros_like(items)) for term in (BPR_POSITIVE, BPR_UNIFORM, BPR_HARD, L2)
    }
    n = len(batch.rows)
    for row, u, i, (j,) in zip(
        *(t.tolist() for t in (batch.rows, batch.users, batch.positives, candidates)), strict=True
    ):
        text = torch.from_numpy(sampler.mined.vectors_of(np.array([row])))
        missing = bool(text.isnan().any())
        alpha = 0.0 if missing else 0.3
        hard = np.zeros(8) if missing else sampler.project(text)[0].detach().numpy().astype(float)
        mixed = (1 - alpha) * items[j] + alpha * hard
        slope = 1 / (1 + math.exp(users[u] @ items[i] - users[u] @ mixed)) / n
        expected[BPR_POSITIVE][0][u] -= slope * items[i]
        expected[BPR_POSITIVE][1][i] -= slope * users[u]
        expected[BPR_UNIFORM][0][u] += slope * (1 - alpha) * items[j]
        expected[BPR_UNIFORM][1][j] += slope * (1 - alpha) * users[u]
        expected[BPR_HARD][0][u] += slope * alpha * hard
        expected[L2][0][u] += L2_WEIGHT * users[u] / n
        expected[L2][1][i] += L2_WEIGHT * items[i] / n
        expected[L2][1][j] += L2_WEIGHT * items[j] / n
    for term, (of_users, of_items) in expected.items():
        np.testing.assert_allclose(found[term]["users"].numpy(), of_users.ravel(), rtol=1e-4, atol=1e-8, err_msg=term)
        np.testing.assert_allclose(found[term]["items"].numpy(), of_items.ravel(), rtol=1e-4, atol=1e-8, err_msg=term)


def test_norms_and_cosines_are_means_over_batches_and_nothing_changes(seen: Interactions) -> None:
    model, sampler = LightGCNModel(seen, embedding_size=8, seed=1), made(seen)
    order = np.random.default_rng(1).permutation(len(seen))
    given = []
    for rows in (order[:9], order[9:20]):
        tensors = (torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows]))
        batch = Batch(*tensors, epoch=1, step=0)
        given.append((batch, drawn(sampler, seen, batch)))
    before = [p.detach().clone() for p in (*model.parameters(), *sampler.parameters())]
    whole = compute_loss_gradients(model, sampler, given, STREAM, l2_weight=L2_WEIGHT)
    assert whole == compute_loss_gradients(model, sampler, given, STREAM, l2_weight=L2_WEIGHT)
    after = [*model.parameters(), *sampler.parameters()]
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(before, after, strict=True))
    parts, norms, cosines = groups_of(model, sampler), [], []
    for batch, candidates in given:
        terms = loss_terms(sampler, batch, model(), candidates, STREAM, l2_weight=L2_WEIGHT)
        found = differentiate(terms, parts)
        found[BPR] = {part: torch.stack([found[term][part] for term in BPR_TERMS]).sum(dim=0) for part in parts}
        norms.append({term: {part: float(found[term][part].norm()) for part in parts} for term in (BPR, *TERMS)})
        a, b = found[BPR_HARD][PROJECTOR], found[ALIGNMENT][PROJECTOR]
        cosines.append(float(a @ b / a.norm() / b.norm()))
    for term in (BPR, *TERMS):
        for part in parts:
            assert whole.norms[term][part] == pytest.approx((norms[0][term][part] + norms[1][term][part]) / 2)
    assert whole.cosines[PROJECTOR] == pytest.approx(sum(cosines) / 2, rel=1e-5)


def test_a_projector_kept_out_of_bpr_has_no_cosine(seen: Interactions, batch: Batch) -> None:
    model, sampler = MFModel(seen, embedding_size=8, seed=1), made(seen, detach_projector=True)
    found = compute_loss_gradients(model, sampler, [(batch, drawn(sampler, seen, batch))], STREAM, l2_weight=0.0)
    assert found.cosines[PROJECTOR] is None
    assert found.cosines["items"] is None, "of MF: e_hard is no item"
    assert found.cosines["users"] is not None


def test_plain_items_and_no_batch_are_refused(seen: Interactions, batch: Batch) -> None:
    model, sampler = MFModel(seen, embedding_size=8, seed=1), made(seen, without_text=True)
    with pytest.raises(DataError, match="e_hard"):
        compute_loss_gradients(model, sampler, [(batch, drawn(sampler, seen, batch))], STREAM, l2_weight=0.1)
    with pytest.raises(DataError, match="no batch"):
        compute_loss_gradients(model, sampler, [], STREAM, l2_weight=0.1)
