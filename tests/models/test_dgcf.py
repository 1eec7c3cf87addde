"""DGCF: the contract, a slow loop forward and backward, the distance correlation, limit cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.models.contract import BackboneContract, full_batch
from tests.models.slow_references import backpropagate
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.models import DGCF, LightGCNModel
from hardneg.models.dgcf import distance_correlation


class TestDGCF(BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return DGCF(embedding_size=8, intents=2, hops=2, weight=0.5).build(seen, seed=seed)


def unit(row: Tensor) -> Tensor:
    return row / row.square().sum().sqrt().clamp(min=1e-12)


def loop_hop(rows: list[Tensor], seen: Interactions, intents: int, iterations: int) -> list[Tensor]:
    """Wang et al. (2020), eq. 6 to 11, one pair and intent at a time."""
    pairs = [(u, 6 + i) for u, i in zip(seen.users.tolist(), seen.items.tolist(), strict=True)]
    edges = pairs + [(i, u) for u, i in pairs]
    size = len(rows[0]) // intents
    part = [[row[k * size : (k + 1) * size] for row in rows] for k in range(intents)]
    logits = {edge: [torch.ones(()).double() for _ in range(intents)] for edge in edges}
    for _ in range(iterations):
        shares = {edge: torch.softmax(torch.stack(own), 0) for edge, own in logits.items()}
        following = []
        for k in range(intents):
            sums = [sum(shares[h, t][k] for h, t in edges if h == node) for node in range(len(rows))]
            table = [torch.zeros(size).double() for _ in rows]
            for head, tail in edges:
                table[head] = table[head] + shares[head, tail][k] / (sums[head] * sums[tail]).sqrt() * part[k][tail]
            following.append(table)
        for head, tail in edges:
            for k in range(intents):
                affinity = (unit(following[k][head]) * torch.tanh(unit(part[k][tail]))).sum()
                logits[head, tail][k] = logits[head, tail][k] + affinity
    return [torch.cat([following[k][node] for k in range(intents)]) for node in range(len(rows))]


def loop_correlation(one: Tensor, other: Tensor) -> Tensor:
    """Szekely et al. (2007), definition 3, one pair of rows at a time."""

    def centred(rows: Tensor) -> list[list[Tensor]]:
        n = len(rows)
        d = [[((rows[i] - rows[j]).square().sum() + 1e-8).sqrt() for j in range(n)] for i in range(n)]
        of_row, of_column = [sum(line) / n for line in d], [sum(line[j] for line in d) / n for j in range(n)]
        return [[d[i][j] - of_row[i] - of_column[j] + sum(of_row) / n for j in range(n)] for i in range(n)]

    def mean(a: list[list[Tensor]], b: list[list[Tensor]]) -> Tensor:
        return sum(x * y for row, line in zip(a, b, strict=True) for x, y in zip(row, line, strict=True)) / len(a) ** 2

    first, second = centred(one), centred(other)
    return mean(first, second).sqrt() / (mean(first, first) * mean(second, second)).sqrt().sqrt()


@pytest.mark.parametrize(("intents", "iterations"), [(2, 2), (4, 3), (1, 2)])
def test_it_equals_the_slow_loop_with_its_gradients(seen: Interactions, intents: int, iterations: int) -> None:
    model = DGCF(embedding_size=8, intents=intents, iterations=iterations, hops=2).build(seen, seed=4)
    start = torch.cat([model.users, model.items]).detach().double().requires_grad_()
    hops = [list(start)]
    for _ in range(2):
        hops.append(loop_hop(hops[-1], seen, intents, iterations))
    expected = torch.stack([torch.stack(hop) for hop in hops]).mean(dim=0)
    made = model()
    final = torch.cat([made.final_users, made.final_items])
    torch.testing.assert_close(final.double(), expected, rtol=1e-4, atol=1e-6)
    backpropagate(final, expected)
    own = torch.cat([model.users.grad, model.items.grad])
    torch.testing.assert_close(own.double(), start.grad, rtol=1e-3, atol=1e-4)


def test_distance_correlation_equals_the_slow_loop_with_its_gradients() -> None:
    rng = np.random.default_rng(1)
    tables = [torch.from_numpy(rng.normal(size=(7, 3))).requires_grad_() for _ in range(2)]
    others = [table.detach().clone().requires_grad_() for table in tables]
    value, expected = distance_correlation(*tables), loop_correlation(*others)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    value.backward()
    expected.backward()
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table.grad, other.grad, rtol=1e-3, atol=1e-5)


def test_distance_correlation_is_1_of_similar_tables_and_small_of_independent_ones() -> None:
    rows = torch.from_numpy(np.random.default_rng(2).normal(size=(400, 1)))
    others = torch.from_numpy(np.random.default_rng(3).normal(size=(400, 1)))
    assert distance_correlation(rows, 3 - 2 * rows).item() == pytest.approx(1, abs=1e-3)
    assert distance_correlation(rows, rows.square()).item() > 0.3
    assert distance_correlation(rows, others).item() < 0.15


def test_one_intent_is_lightgcn(seen: Interactions) -> None:
    made = DGCF(embedding_size=8, intents=1, hops=2).build(seen, seed=4)()
    plain = LightGCNModel(seen, embedding_size=8, hops=2, seed=4)()
    torch.testing.assert_close(made.final_users, plain.final_users, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(made.final_items, plain.final_items, rtol=1e-5, atol=1e-6)


def test_a_node_without_pairs_has_finite_tables_and_gradients() -> None:
    seen = Interactions.of(np.array([0, 1]), np.array([0, 0]), n_users=2, n_items=2)
    model = DGCF(embedding_size=4, intents=2).build(seen, seed=0)
    made = model.training_pass(full_batch(seen))
    assert torch.equal(made.embeddings.items[1][1], torch.zeros(4))
    (made.embeddings.final_items.square().sum() + made.auxiliary).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_without_weight_there_is_no_auxiliary_loss_and_unequal_parts_are_refused(seen: Interactions) -> None:
    model = DGCF(embedding_size=8, weight=0).build(seen, seed=0)
    assert model.training_pass(full_batch(seen)).auxiliary is None
    with pytest.raises(ValidationError, match="multiple"):
        DGCF(embedding_size=10, intents=4)
