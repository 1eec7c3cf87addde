"""Multi-view negatives, and DNS and AHNS with tree weights, against slow loops."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.mining.retrieval import draw_at_random
from hardneg.models import LightGCNModel
from hardneg.models.propagation import to_dense
from hardneg.random import Stream
from hardneg.sampling import AHNS, DNS, MixGCF, MultiView, SamplerInputs, SemanticMixing, UniformCandidates
from hardneg.sampling.sampler import hardest, pick_by_rank, score_all
from hardneg.sampling.tree_similarity import add_tree_bonus, best_with_bonus
from hardneg.training import FitConfig, fit_model, objective
from hardneg.trees import PathCodes, Trees
from hardneg.types import Batch, Embeddings, Items, Vectors

STREAM = Stream(2, "sampler", 1)
NOTHING = SamplerInputs(8, None, 0)


@pytest.fixture
def with_trees(trees: Trees) -> SamplerInputs:
    return SamplerInputs(8, None, 0, trees=trees)


def drawn(seen: Interactions, batch: Batch, n: int) -> Tensor:
    where = batch.rows.numpy(), batch.users.numpy()
    return torch.from_numpy(UniformCandidates(seen).draw(*where, n=n, stream=Stream(0, "drawn", 1)))


def slow_similarity(codes: PathCodes, one: int, other: int) -> float:
    a, b = (text.split("-") if text else [] for text in (codes.texts()[one], codes.texts()[other]))
    shared = 0
    while shared < min(len(a), len(b)) and a[shared] == b[shared]:
        shared += 1
    return shared / min(len(a), len(b)) if a and b else 0.0


def slow_totals(
    preferences: list[float], trees: Trees, positive: int, candidates: list[int], *, alpha_c: float, alpha_s: float
) -> list[float]:
    """(p - min) / (max - min + 1e-8) + alpha_c sim_c + alpha_s sim_s."""
    low, high = min(preferences), max(preferences)
    return [
        (p - low) / (high - low + 1e-8)
        + alpha_c * slow_similarity(trees.structural, positive, item)
        + alpha_s * slow_similarity(trees.semantic, positive, item)
        for p, item in zip(preferences, candidates, strict=True)
    ]


def detached(embeddings: Embeddings) -> Embeddings:
    users, items = (tuple(t.detach().double() for t in side) for side in (embeddings.users, embeddings.items))
    return Embeddings(users, items, embeddings.pooling)


@pytest.mark.parametrize(("hops", "pooling"), [(2, "mean"), (2, "sum"), (2, "concat"), (0, "mean")])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_multi_view_equals_the_slow_loop(
    seen: Interactions, batch: Batch, trees: Trees, hops: int, pooling: str, scale: float
) -> None:
    """All candidates are mixed first, as the paper says, and their preferences scaled then; ours are not mixed. With
    tables scaled by 1e-4 a pair's scores differ by no more than the 1e-8 that is added to their range."""
    model = LightGCNModel(seen, embedding_size=8, hops=hops, pooling=pooling, seed=1)
    with torch.no_grad():
        for table in model.parameters():
            table.mul_(scale)
    embeddings, candidates, weights = model(), drawn(seen, batch, 6), {"alpha_c": 0.3, "alpha_s": 0.5}
    sampler = MultiView(candidates=6, **weights).build(SamplerInputs(8, None, 0, trees=trees))
    result = sampler.sample(batch, embeddings, candidates, STREAM)
    assert isinstance(result, Vectors)
    slow, mixing = detached(embeddings), STREAM.uniform(batch.rows.numpy(), hops + 1)
    differs = 0
    for row, (user, positive) in enumerate(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)):
        parts = []
        for hop, items in enumerate(slow.items):
            a = float(mixing[row, hop])
            query = slow.users[hop][user] if pooling == "concat" else slow.final_users[user]
            mixed = [a * items[positive] + (1 - a) * items[item] for item in candidates[row]]
            preferences = [float(query @ vector) for vector in mixed]
            totals = slow_totals(preferences, trees, positive, candidates[row].tolist(), **weights)
            best = int(np.argmax(totals))
            differs += best != int(np.argmax(preferences))
            assert result.sources[row, 0, hop] == candidates[row, best]
            parts.append(mixed[best])
        pooled = {"concat": torch.cat(parts), "mean": torch.stack(parts).mean(0), "sum": torch.stack(parts).sum(0)}
        torch.testing.assert_close(result.vectors[row, 0].detach().double(), pooled[pooling], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(result.ego[row, 0].detach().double(), parts[0], rtol=1e-5, atol=1e-6)
    assert differs > 0


@pytest.mark.parametrize("pooling", ["mean", "concat"])
@pytest.mark.parametrize("hops", [0, 2])
@pytest.mark.parametrize("no_weight", [True, False])
def test_without_weights_it_equals_mixgcf(
    seen: Interactions, batch: Batch, hops: int, pooling: str, no_weight: bool
) -> None:
    """With weights of 0 or without codes, only the scaled preference remains."""
    none = PathCodes(np.full((12, 3), -1, np.int16))
    weights = {"alpha_c": 0.0, "alpha_s": 0.0} if no_weight else {}
    ingredients = NOTHING if no_weight else SamplerInputs(8, None, 0, trees=Trees(none, none, "nothing"))
    result = []
    for options in (MultiView(candidates=6, **weights), MixGCF(candidates=6)):
        model = LightGCNModel(seen, embedding_size=8, hops=hops, pooling=pooling, seed=1)
        negatives = options.build(ingredients).sample(batch, model(), drawn(seen, batch, 6), STREAM)
        objective(batch, model(), negatives, 1e-2).backward()
        result.append((negatives.vectors, negatives.ego, negatives.sources, to_dense(model.items.grad)))
    assert all(torch.equal(one, other) for one, other in zip(*result, strict=True))


def test_scaling_does_not_change_the_order() -> None:
    """Scores that lie nearer to each other than to the smallest one, on many rows."""
    generator = torch.Generator().manual_seed(5)
    queries, table = torch.randn(4000, 16, generator=generator), torch.randn(200, 16, generator=generator)
    candidates = torch.randint(200, (4000, 10), generator=generator)
    nothing, spare = np.zeros((4000, 10), np.float32), torch.full((4000,), 1e-8)
    places = best_with_bonus(queries, table, candidates, nothing, spare)
    assert torch.equal(candidates.gather(1, places.unsqueeze(1))[:, 0], hardest(queries, table, candidates))


@pytest.mark.parametrize("threads", [1, 3])
def test_one_pass_equals_scoring_scaling_and_choosing(threads: int) -> None:
    generator = torch.Generator().manual_seed(6)
    queries, table = torch.randn(500, 19, generator=generator), torch.randn(60, 19, generator=generator)
    candidates = torch.randint(60, (500, 7), generator=generator)
    bonus, spare = torch.rand(500, 7, generator=generator).numpy(), torch.rand(500, generator=generator) * 1e-6
    torch.set_num_threads(threads)
    try:
        one_pass = best_with_bonus(queries, table, candidates, bonus, spare)
    finally:
        torch.set_num_threads(1)
    totals = add_tree_bonus(score_all(queries, table, candidates), bonus, spare)
    assert torch.equal(one_pass, pick_by_rank(totals))
    assert torch.equal(one_pass, totals.argmax(dim=1))


def test_equal_preferences_are_scaled_to_0_and_nan_is_returned_first() -> None:
    table = torch.tensor([[1.0], [float("nan")], [2.0]])
    bonus, spare = np.array([[0.1, 0.3, 0.2]], np.float32), torch.full((1,), 1e-8)
    equal, odd = torch.tensor([[0, 0, 0]]), torch.tensor([[2, 1, 0]])
    np.testing.assert_array_equal(add_tree_bonus(torch.full((1, 3), 5.0), bonus, spare), bonus)
    assert best_with_bonus(torch.ones(1, 1), table, equal, bonus, spare).tolist() == [1]
    assert best_with_bonus(torch.ones(1, 1), table, odd, bonus, spare).tolist() == [1]
    assert pick_by_rank(add_tree_bonus(score_all(torch.ones(1, 1), table, odd), bonus, spare)).tolist() == [1]


@pytest.mark.parametrize("top", [1, 3])
@pytest.mark.parametrize(("alpha_c", "alpha_s"), [(0.3, 0.5), (0.6, 0.0), (0.0, 0.6)])
def test_dns_with_trees_equals_the_slow_loop(
    seen: Interactions, batch: Batch, embeddings: Embeddings, trees: Trees, top: int, alpha_c: float, alpha_s: float
) -> None:
    candidates, weights = drawn(seen, batch, 6), {"alpha_c": alpha_c, "alpha_s": alpha_s}
    sampler = DNS(candidates=6, top=top, **weights).build(SamplerInputs(8, None, 0, trees=trees))
    result, slow = sampler.sample(batch, embeddings, candidates, STREAM), detached(embeddings)
    units = STREAM.uniform(batch.rows.numpy(), 1)
    for row, (user, positive) in enumerate(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)):
        items = candidates[row].tolist()
        preferences = [float(slow.final_users[user] @ slow.final_items[item]) for item in items]
        totals = slow_totals(preferences, trees, positive, items, **weights)
        order = sorted(range(6), key=lambda place: -totals[place])
        assert result.items[row].item() == items[order[int(units[row, 0] * top)]]


def test_ahns_with_trees_scales_the_negated_distance(
    seen: Interactions, batch: Batch, embeddings: Embeddings, with_trees: SamplerInputs, trees: Trees
) -> None:
    candidates, weights = drawn(seen, batch, 6), {"alpha_c": 0.3, "alpha_s": 0.5}
    sampler = AHNS(candidates=6, alpha=0.5, beta=0.4, **weights).build(with_trees)
    result, slow = sampler.sample(batch, embeddings, candidates, STREAM), detached(embeddings)
    for row, (user, positive) in enumerate(zip(batch.users.tolist(), batch.positives.tolist(), strict=True)):
        items, users = candidates[row].tolist(), slow.final_users[user]
        target = 0.4 / (float(users @ slow.final_items[positive]) + 0.5)
        preferences = [-abs(float(users @ slow.final_items[item]) - target) for item in items]
        best = int(np.argmax(slow_totals(preferences, trees, positive, items, **weights)))
        assert result.items[row].item() == items[best]


def test_totals_are_mean_similarities_of_chosen_and_of_all(
    seen: Interactions, batch: Batch, embeddings: Embeddings, with_trees: SamplerInputs, trees: Trees
) -> None:
    candidates = drawn(seen, batch, 5)
    for options in (MultiView(candidates=5, alpha_c=0.3, alpha_s=0.5), DNS(candidates=5, top=2, alpha_s=0.5)):
        result = options.build(with_trees).sample(batch, embeddings, candidates, STREAM)
        chosen = result.items if isinstance(result, Items) else result.sources[:, 0]
        expected = {}
        for name, codes in (("structural", trees.structural), ("semantic", trees.semantic)):
            if name == "structural" and isinstance(options, DNS):
                continue  # a tree without a weight is not read
            for whose, items in (("chosen", chosen), ("candidates", candidates)):
                values = [
                    slow_similarity(codes, positive, item)
                    for positive, row in zip(batch.positives.tolist(), items.tolist(), strict=True)
                    for item in row
                ]
                expected[f"{name} similarity of {whose}"] = (pytest.approx(sum(values), rel=1e-5), len(values))
        assert result.totals == expected


def test_the_gradient_reaches_only_the_chosen_candidates(
    seen: Interactions, batch: Batch, with_trees: SamplerInputs
) -> None:
    model = LightGCNModel(seen, embedding_size=8, hops=0, seed=1)
    one = Batch(batch.rows[:1], batch.users[:1], batch.positives[:1], 1, 0)
    positive = int(one.positives)
    candidates = torch.tensor([[item for item in range(12) if item != positive][:6]])
    embeddings = model()
    result = MultiView(candidates=6).build(with_trees).sample(one, embeddings, candidates, STREAM)
    objective(one, embeddings, result, 0.0).backward()
    moved = set(to_dense(model.items.grad).abs().sum(dim=1).nonzero().flatten().tolist())
    assert moved == {positive, int(result.sources)}


MADE: dict[str, Callable[[], DNS | AHNS | MultiView]] = {
    "multi-view": lambda: MultiView(candidates=4),
    "dns": lambda: DNS(candidates=5, top=3, alpha_c=0.2, alpha_s=0.2),
    "ahns": lambda: AHNS(candidates=5, alpha_s=0.2),
}


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_choice_is_the_same_in_any_batch_and_with_any_threads(
    seen: Interactions, batch: Batch, embeddings: Embeddings, with_trees: SamplerInputs, name: str, threads: int
) -> None:
    sampler = MADE[name]().build(with_trees)
    candidates = drawn(seen, batch, sampler.n_candidates)
    whole = sampler.sample(batch, embeddings, candidates, STREAM)
    torch.set_num_threads(threads)
    try:
        for part in torch.randperm(len(batch.rows), generator=torch.Generator().manual_seed(4)).split(4):
            few = Batch(batch.rows[part], batch.users[part], batch.positives[part], 1, 0)
            result = sampler.sample(few, embeddings, candidates[part], STREAM)
            if isinstance(result, Items):
                assert torch.equal(result.items, whole.items[part])
            else:
                assert torch.equal(result.vectors, whole.vectors[part])
                assert torch.equal(result.sources, whole.sources[part])
    finally:
        torch.set_num_threads(1)


def test_metrics_hold_similarities_of_every_epoch(seen: Interactions, with_trees: SamplerInputs) -> None:
    model, sampler = LightGCNModel(seen, embedding_size=8, hops=2, seed=1), MultiView(candidates=4).build(with_trees)
    settings = FitConfig(epochs=2, batch_size=8, check_every=2)
    fitted = fit_model(model, seen, sampler, UniformCandidates(seen), settings, validate=lambda _: {"recall@20": 0.0})
    curves = [row for row in fitted.state.curves if row["split"] == "negatives"]
    names = [
        f"{view} similarity of {whose}" for view in ("structural", "semantic") for whose in ("chosen", "candidates")
    ]
    assert [(row["epoch"], row["metric"]) for row in curves] == [(epoch, name) for epoch in (1, 2) for name in names]
    for view in ("structural", "semantic"):
        chosen, of_all = (
            [row["value"] for row in curves if row["metric"] == f"{view} similarity of {whose}"]
            for whose in ("chosen", "candidates")
        )
        assert np.mean(chosen) > np.mean(of_all)


@pytest.mark.parametrize("options", [MultiView(), MultiView(alpha_c=0), DNS(alpha_c=0.1), AHNS(alpha_s=0.1)])
def test_weights_without_trees_are_refused(options: MultiView | DNS | AHNS) -> None:
    assert options.reads_trees
    with pytest.raises(ConfigError, match=rf"{options.kind}.*hardneg trees.*--trees"):
        options.build(NOTHING)


def test_semantic_mixing_passes_the_trees_to_the_inner_sampler(seen: Interactions, batch: Batch, trees: Trees) -> None:
    near, inside = draw_at_random(12, 4, np.random.default_rng(8)), DNS(candidates=5, alpha_c=1.0)
    ingredients = SamplerInputs(8, None, 0, near, trees)
    embeddings, candidates = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)(), drawn(seen, batch, 5)
    result = (
        SemanticMixing(sampler=inside, neighbours=3).build(ingredients).sample(batch, embeddings, candidates, STREAM)
    )
    plain = inside.build(ingredients).sample(batch, embeddings, candidates, STREAM)
    assert torch.equal(result.sources[:, :, 0], plain.items)
    assert result.totals == plain.totals
