"""DENS and ANS against slow loops, forward and backward; their limits; their auxiliary parts change the outcome."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.models import LightGCNModel
from hardneg.random import Stream
from hardneg.sampling import ANS, DENS, DNS, SamplerConfig, SamplerInputs, UniformCandidates
from hardneg.sampling.ans import NEAREST, ANSSampler
from hardneg.sampling.gate_kernels import gate_value
from hardneg.training import FitConfig, fit_model
from hardneg.types import Batch, Embeddings, Vectors

STREAM, NOTHING = Stream(2, "sampler", 1), SamplerInputs(8, None, 0)


def candidates_of(seen: Interactions, batch: Batch, n: int) -> Tensor:
    where = batch.rows.numpy(), batch.users.numpy()
    return torch.from_numpy(UniformCandidates(seen).draw(*where, n=n, stream=Stream(0, "drawn", 1)))


def scaled(seen: Interactions, hops: int = 2, scale: float = 4.0) -> Embeddings:
    """Hop tables in double precision with larger numbers, so that gates and margins are not all alike."""
    made = LightGCNModel(seen, embedding_size=8, hops=hops, seed=1)()
    sides = (tuple(scale * table.detach().double() for table in side) for side in (made.users, made.items))
    users, items = sides
    return Embeddings(users, items, "mean")


def gradients(loss: Tensor, sampler: torch.nn.Module) -> list[Tensor]:
    return list(torch.autograd.grad(loss, list(sampler.parameters()), retain_graph=True))


def bpr(user: Tensor, better: Tensor, worse: Tensor) -> Tensor:
    return -torch.log(1 / (1 + torch.exp(-(user @ better - user @ worse))))


@pytest.mark.parametrize("epoch", [1, 50, 100, 170])
def test_dens_equals_the_slow_loop(seen: Interactions, batch: Batch, epoch: int) -> None:
    batch, tables = replace(batch, epoch=epoch), scaled(seen)
    sampler = DENS(candidates=5, weight=0.7).build(NOTHING).double()
    candidates = candidates_of(seen, batch, 5)
    result = sampler.sample(batch, tables, candidates, STREAM)
    w = {name: matrix.T for name, matrix in sampler.matrices.items()}
    share, total = 1 - min(1, epoch / 100), torch.zeros((), dtype=torch.float64)
    for row, (u, i) in enumerate(zip(batch.users, batch.positives, strict=True)):
        user, parts = tables.final_users[u], []
        for hop, table in enumerate(tables.items):
            p_r = torch.sigmoid(w["item"] @ table[i] + w["user"] @ user) * table[i]
            values = []
            for j in candidates[row]:
                n_r = torch.sigmoid(w["negative"] @ table[j] + w["positive"] @ p_r) * table[j]
                values.append(float((user @ (share * table[j] - n_r)).detach()))
            best = candidates[row, int(np.argmax(values))]
            assert result.sources[row, 0, hop] == best
            parts.append(table[best])
        p, n = tables.final_items[i], torch.stack(parts).mean(dim=0)
        torch.testing.assert_close(result.vectors[row, 0], n)
        p_r = torch.sigmoid(w["item"] @ p + w["user"] @ user) * p
        n_r = torch.sigmoid(w["negative"] @ n + w["positive"] @ p_r) * n
        better = [(p_r, p - p_r), (n - n_r, n_r), (p_r, n_r), (n - n_r, p - p_r)]
        total = total + sum(bpr(user, a, b) for a, b in better) / 4
    expected = 0.7 * total / len(batch.rows)
    assert result.auxiliary.item() == pytest.approx(expected.item(), rel=1e-10)
    for one, other in zip(gradients(result.auxiliary, sampler), gradients(expected, sampler), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("without_noise", [False, True])
def test_ans_equals_the_slow_loop(seen: Interactions, batch: Batch, without_noise: bool) -> None:
    tables, n = scaled(seen), 4
    sampler = ANS(candidates=n, weight=0.7, gain=0.6, without_noise=without_noise).build(NOTHING).double()
    with torch.no_grad():
        sampler.margin[:-1] = torch.linspace(-2, 2, 8)
    candidates = candidates_of(seen, batch, n)
    result = sampler.sample(batch, tables, candidates, STREAM)
    w, units = {name: matrix.T for name, matrix in sampler.matrices.items()}, STREAM.uniform(batch.rows.numpy(), n * 8)
    total = vectors = torch.zeros((), dtype=torch.float64)
    for row, (u, i) in enumerate(zip(batch.users, batch.positives, strict=True)):
        user, parts = tables.final_users[u], []
        for hop, table in enumerate(tables.items):
            contrast, near, apart, values, augmented = 0.0, 0.0, 0.0, [], []
            for m, j in enumerate(candidates[row]):
                gate = torch.sigmoid((w["item"] @ table[j]) * (w["user"] @ user))
                hard, p_hard = gate * table[j], gate * table[i]
                easy, p_easy = table[j] - hard, table[i] - p_hard
                contrast = contrast + torch.exp(user @ easy - user @ hard)
                near = near + (hard - p_hard).square().sum().sqrt() / n
                apart = apart + (p_easy * easy).square().sum().sqrt() / n
                direction = torch.from_numpy(units[row, m * 8 : m * 8 + 8]).double()
                x = sampler.margin[:-1] @ (hard * p_hard) + sampler.margin[-1]
                noise = torch.sign(p_easy - easy) * direction / direction.norm() * torch.sigmoid(1 / x) * 0.1
                augmented.append(table[j] if without_noise else table[j] + noise)
                values.append(float((1.6 * user @ augmented[-1] - 0.6 * user @ table[j]).detach()))
            best = int(np.argmax(values))
            assert result.sources[row, 0, hop] == candidates[row, best]
            parts.append(augmented[best])
            total = total + torch.log(1 + contrast) + near + apart
        vector = torch.stack(parts).mean(dim=0)
        torch.testing.assert_close(result.vectors[row, 0], vector, rtol=1e-6, atol=1e-7)
        vectors = vectors + (vector * torch.arange(8)).sum()
    expected = 0.7 * total / len(batch.rows) / 3
    assert result.auxiliary.item() == pytest.approx(expected.item(), rel=1e-10)
    ours, theirs = result.auxiliary, expected
    if not without_noise:
        ours = ours + (result.vectors[:, 0] * torch.arange(8)).sum()
        theirs = theirs + vectors
    trained = [p for p in sampler.parameters() if p.requires_grad]
    assert len(trained) == (2 if without_noise else 3)
    pairs = (torch.autograd.grad(loss, trained, retain_graph=True) for loss in (ours, theirs))
    for one, other in zip(*pairs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


def single(tables: Embeddings) -> Embeddings:
    """The tables in single precision, as leaves."""
    sides = ([table.float().requires_grad_() for table in side] for side in (tables.users, tables.items))
    users, items = sides
    return Embeddings(tuple(users), tuple(items), "mean")


@pytest.mark.parametrize("epoch", [1, 50, 100])
def test_the_compiled_choice_of_dens_is_that_of_torch(seen: Interactions, batch: Batch, epoch: int) -> None:
    batch, tables, candidates = replace(batch, epoch=epoch), scaled(seen), candidates_of(seen, batch, 6)
    options = DENS(candidates=6)
    found = options.build(NOTHING).sample(batch, single(tables), candidates, STREAM)
    expected = options.build(NOTHING).double().sample(batch, tables, candidates, STREAM)
    assert torch.equal(found.sources, expected.sources)


@pytest.mark.parametrize("options", [DENS(candidates=4), ANS(candidates=4)], ids=["dens", "ans"])
def test_candidates_outside_the_table_are_refused(options: SamplerConfig, seen: Interactions, batch: Batch) -> None:
    candidates = candidates_of(seen, batch, 4)
    candidates[1, 2] = -1
    with pytest.raises(DataError, match=r"found rows -1 to .* of a table that has 12"):
        options.build(NOTHING).sample(batch, single(scaled(seen)), candidates, STREAM)


@pytest.mark.parametrize("options", [DENS(candidates=4), ANS(candidates=4)], ids=["dens", "ans"])
def test_threads_and_rows_that_are_not_finite(options: SamplerConfig, seen: Interactions, batch: Batch) -> None:
    tables, candidates = single(scaled(seen)), candidates_of(seen, batch, 4)
    one = options.build(NOTHING).sample(batch, tables, candidates, STREAM)
    torch.set_num_threads(3)
    try:
        other = options.build(NOTHING).sample(batch, tables, candidates, STREAM)
    finally:
        torch.set_num_threads(1)
    assert torch.equal(one.sources, other.sources)
    assert torch.equal(one.vectors, other.vectors)
    with torch.no_grad():
        for table in tables.items:
            table[candidates[0, 2]] = torch.nan
    broken = options.build(NOTHING).sample(batch, tables, candidates, STREAM)
    assert (broken.sources[0] == candidates[0, 2]).all()
    assert not broken.auxiliary.isfinite()


def test_ans_of_a_candidate_equal_to_the_positive_has_finite_gradients(seen: Interactions, batch: Batch) -> None:
    """Both norms are 0, or their roots have no derivative, at equal rows and at rows of zeros."""
    tables, candidates = single(scaled(seen)), candidates_of(seen, batch, 4)
    candidates[:, 0] = batch.positives
    with torch.no_grad():
        for table in tables.items:
            table[candidates[0, 1]] = 0.0
    sampler = ANS(candidates=4).build(NOTHING)
    result = sampler.sample(batch, tables, candidates, STREAM)
    leaves = [*tables.items, *sampler.parameters()]
    parts = torch.autograd.grad(result.auxiliary + result.vectors.sum(), leaves)
    assert all(part.to_dense().isfinite().all() for part in parts)


@pytest.mark.parametrize(
    "options",
    [ANS(candidates=4, weight=0.7, gain=5.0), ANS(candidates=4, weight=0.7, without_noise=True)],
    ids=["noise", "without noise"],
)
def test_the_compiled_pass_of_ans_has_the_values_and_gradients_of_torch(
    options: ANS, seen: Interactions, batch: Batch
) -> None:
    """Every input: tables of all hops, gates and margin; by the augmented rows and by the auxiliary loss."""
    tables, candidates = scaled(seen), candidates_of(seen, batch, 4)
    double = Embeddings(
        *(tuple(t.clone().requires_grad_() for t in side) for side in (tables.users, tables.items)), "mean"
    )
    results = []
    for given, sampler in ((single(tables), options.build(NOTHING)), (double, options.build(NOTHING).double())):
        with torch.no_grad():
            sampler.margin[:-1] = torch.linspace(-2, 2, 8)
        result = sampler.sample(batch, given, candidates, STREAM)
        loss = result.auxiliary + (result.vectors[:, 0] * torch.arange(8)).sum()
        leaves = [*given.users, *given.items, *(p for p in sampler.parameters() if p.requires_grad)]
        parts = torch.autograd.grad(loss, leaves, allow_unused=True)
        results.append((result, loss, [None if part is None else part.to_dense() for part in parts]))
    (one, loss, of_one), (other, expected, of_other) = results
    assert torch.equal(one.sources, other.sources)
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-5)
    assert sum(part is not None for part in of_one) >= 8
    for found, wanted in zip(of_one, of_other, strict=True):
        assert (found is None) == (wanted is None)
        if found is not None:
            torch.testing.assert_close(found.double(), wanted, rtol=1e-3, atol=1e-4)


def test_a_gate_is_the_sigmoid_of_the_formula() -> None:
    for x in np.linspace(-40, 40, 4001, dtype=np.float32):
        assert gate_value(x) == pytest.approx(1 / (1 + np.exp(-np.float64(x))), abs=2e-7)


def test_the_margin_is_finite_at_0_on_both_sides() -> None:
    sampler: ANSSampler = ANS(candidates=1).build(SamplerInputs(1, None, 0))
    rows = torch.tensor([[1.0], [1.0], [1.0]])
    strengths = []
    for bias in (0.0, NEAREST / 2, -NEAREST / 2, 1e-30):
        with torch.no_grad():
            sampler.margin[-1] = bias
        augmented, loss = sampler.augment(rows, 2 * rows, rows.unsqueeze(1), torch.ones(3, 1, 1))
        (augmented.sum() + loss).backward()
        assert all(p.grad.isfinite().all() for p in sampler.parameters())
        strengths.append(float((augmented[0, 0, 0] - 1).detach()))
    assert strengths == pytest.approx([0.1, 0.1, 0.0, 0.1], abs=1e-6)


def test_dens_after_its_warmup_and_without_relevance_is_a_candidate_of_least_relevant_score(
    seen: Interactions, batch: Batch
) -> None:
    """Gates of zeros are a half: before the warmup the choice is DNS, afterwards the lowest scored candidate."""
    tables, candidates = scaled(seen, hops=0), candidates_of(seen, batch, 6)
    sampler = DENS(candidates=6, warmup=10).build(NOTHING).double()
    with torch.no_grad():
        for matrix in sampler.parameters():
            matrix.zero_()
    plain = Embeddings(*(tuple(t.float() for t in side) for side in (tables.users, tables.items)), "mean")
    hardest = DNS(candidates=6).build(NOTHING).sample(batch, plain, candidates, STREAM).items
    early = sampler.sample(replace(batch, epoch=1), tables, candidates, STREAM)
    assert torch.equal(early.sources[:, 0], hardest)
    late = sampler.sample(replace(batch, epoch=10), tables, candidates, STREAM)
    scores = (tables.final_items[candidates] * tables.final_users[batch.users].unsqueeze(1)).sum(dim=2)
    assert torch.equal(late.sources[:, 0, 0], candidates[torch.arange(len(candidates)), scores.argmin(dim=1)])


def test_ans_without_noise_and_weight_is_dns(seen: Interactions, batch: Batch) -> None:
    embeddings = LightGCNModel(seen, embedding_size=8, hops=0, seed=1)()
    candidates = candidates_of(seen, batch, 6)
    result = (
        ANS(candidates=6, weight=0, without_noise=True).build(NOTHING).sample(batch, embeddings, candidates, STREAM)
    )
    hardest = DNS(candidates=6).build(NOTHING).sample(batch, embeddings, candidates, STREAM).items
    assert isinstance(result, Vectors)
    assert result.auxiliary is None
    assert torch.equal(result.sources[:, 0], hardest)
    assert torch.equal(result.vectors, embeddings.final_items[hardest])


@pytest.mark.parametrize("sampler", [DENS(candidates=4), ANS(candidates=4)], ids=["dens", "ans"])
def test_the_auxiliary_loss_trains_the_gates_and_changes_the_outcome(
    sampler: SamplerConfig, seen: Interactions
) -> None:
    def trained(options: SamplerConfig) -> tuple[Tensor, list[Tensor]]:
        model, built = LightGCNModel(seen, embedding_size=8, hops=2, seed=3), options.build(NOTHING)
        config = FitConfig(epochs=3, batch_size=16, learning_rate=0.05)
        fit_model(model, seen, built, UniformCandidates(seen), config, validate=None)
        return model.users.detach(), [p.detach().clone() for p in built.parameters()]

    start = [p.detach() for p in sampler.build(NOTHING).parameters()]
    users, gates = trained(sampler)
    assert all(not torch.equal(a, b) for a, b in zip(start, gates, strict=True))
    assert torch.equal(users, trained(sampler)[0])
    without_users, without_gates = trained(sampler.model_copy(update={"weight": 0.0}))
    assert not torch.equal(users, without_users)
    if sampler.kind == "dens":
        assert all(torch.equal(a, b) for a, b in zip(start, without_gates, strict=True))


@pytest.mark.parametrize("sampler", [DENS(), ANS()], ids=["dens", "ans"])
def test_concatenated_hops_are_refused(sampler: SamplerConfig, seen: Interactions, batch: Batch) -> None:
    embeddings = LightGCNModel(seen, embedding_size=4, hops=1, pooling="concat", seed=1)()
    built = sampler.build(NOTHING)
    with pytest.raises(ConfigError, match=r"concatenated hops.*another pooling"):
        built.sample(batch, embeddings, candidates_of(seen, batch, built.n_candidates), STREAM)
