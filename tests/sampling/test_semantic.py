"""Remedies, ablations and metrics of semantic negatives; test_samplers tests eq. 6 to 10."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hardneg.config import parse_config
from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.models import LightGCNModel
from hardneg.random import Stream
from hardneg.sampling import (
    DNS,
    ItemNeighbours,
    MinedNegatives,
    SamplerConfig,
    SamplerInputs,
    Semantic,
    SemanticLiteral,
    SemanticMixing,
    Uniform,
    UniformCandidates,
)
from hardneg.sampling.semantic import MEASURED, SemanticSampler
from hardneg.training import FitConfig, Fitted, fit_model, objective
from hardneg.types import Batch, Embeddings, Items, Vectors

STREAM = Stream(2, "sampler", 1)
FIT = FitConfig(epochs=3, batch_size=16, learning_rate=0.05, l2=1e-2, check_every=3, seed=3)


@pytest.fixture
def mined(seen: Interactions) -> MinedNegatives:
    """Vectors for all pairs but every fourth."""
    vectors = np.random.default_rng(5).normal(size=(len(seen), 5)).astype(np.float16)
    vectors[::4] = np.nan
    return MinedNegatives(np.full((len(seen), 2), -1), vectors, "made up")


def build_sampler(mined: MinedNegatives, **options: object) -> SemanticSampler:
    """The literal form, unless options say otherwise."""
    return Semantic(**{"hidden_size": 16, "match_norm": False, **options}).build(SamplerInputs(8, mined, 3))


def sampled(sampler: SemanticSampler, seen: Interactions, batch: Batch, embeddings: Embeddings) -> Vectors:
    result = sampler.sample(batch, embeddings, drawn(sampler, seen, batch), STREAM)
    assert isinstance(result, Vectors)
    return result


def drawn(sampler: SemanticSampler, seen: Interactions, batch: Batch) -> Tensor:
    rows, users = batch.rows.numpy(), batch.users.numpy()
    items = UniformCandidates(seen).draw(rows, users, n=sampler.n_candidates, stream=Stream(0, "drawn", 1))
    return torch.from_numpy(items)


def projector_gradients(sampler: SemanticSampler, loss: Tensor) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(sampler.parameters()), allow_unused=True, retain_graph=True))


@pytest.mark.parametrize("match_norm", [False, True])
def test_detached_the_projector_learns_from_the_alignment_alone(
    mined: MinedNegatives, seen: Interactions, batch: Batch, match_norm: bool
) -> None:
    options = {"alpha": 0.3, "align_weight": 0.5, "match_norm": match_norm}
    for detached in (True, False):
        sampler = build_sampler(mined, detach_projector=detached, **options)
        embeddings = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()
        result = sampled(sampler, seen, batch, embeddings)
        whole = projector_gradients(sampler, objective(batch, embeddings, result, 0.0))
        own = projector_gradients(sampler, result.auxiliary)
        assert all(gradient.abs().max() > 0 for gradient in own)
        same = [torch.equal(one, other) for one, other in zip(whole, own, strict=True)]
        assert all(same) if detached else not any(same)


def test_detaching_changes_no_vector_and_no_gradient_of_the_backbone(
    mined: MinedNegatives, seen: Interactions, batch: Batch
) -> None:
    result = []
    for detached in (True, False):
        model = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)
        embeddings = model()
        negatives = sampled(build_sampler(mined, alpha=0.3, detach_projector=detached), seen, batch, embeddings)
        objective(batch, embeddings, negatives, 1e-2).backward()
        result.append((negatives.vectors.detach(), negatives.auxiliary.detach(), model.users.grad, model.items.grad))
    assert all(torch.equal(one, other) for one, other in zip(*result, strict=True))


def test_detached_without_alignment_the_projector_is_not_trained(mined: MinedNegatives, seen: Interactions) -> None:
    sampler = build_sampler(mined, alpha=0.3, detach_projector=True, without_alignment=True, projector_l2=0.1)
    before = [parameter.detach().clone() for parameter in sampler.parameters()]
    trained(seen, sampler)
    assert all(torch.equal(one, other) for one, other in zip(before, sampler.parameters(), strict=True))


@pytest.mark.parametrize("detached", [False, True])
def test_with_norms_matched_every_vector_has_its_uniform_negatives_norm(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings, detached: bool
) -> None:
    sampler = build_sampler(mined, alpha=1, match_norm=True, detach_projector=detached, negatives=3)
    result = sampled(sampler, seen, batch, embeddings)
    norms = embeddings.final_items[drawn(sampler, seen, batch)].norm(dim=2)
    torch.testing.assert_close(result.vectors.norm(dim=2), norms)
    assert result.totals["norm of e_hard"][0] == pytest.approx(result.totals["norm of uniform negatives"][0], rel=1e-5)


def test_several_negatives_equal_the_slow_loop(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    sampler = build_sampler(mined, alpha=0.3, negatives=3)
    result, candidates = sampled(sampler, seen, batch, embeddings), drawn(sampler, seen, batch)
    assert result.vectors.shape == result.ego.shape == (len(batch.rows), 3, 8)
    assert result.sources.shape == (len(batch.rows), 3, 3)
    for place, row in enumerate(batch.rows.tolist()):
        vector = torch.from_numpy(mined.vectors[row].astype(np.float32))
        for k in range(3):
            expected = embeddings.final_items[candidates[place, k]]
            if not vector.isnan().any():
                expected = 0.7 * expected + 0.3 * sampler.project(vector.unsqueeze(0))[0]
            torch.testing.assert_close(result.vectors[place, k], expected)
            torch.testing.assert_close(result.ego[place, k], embeddings.items[0][candidates[place, k]])
            assert result.sources[place, k].tolist() == [candidates[place, k].item(), -1, -1]


def test_observers_get_e_hard_without_gradients(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    sampler = build_sampler(mined, alpha=0.3)
    hard = sampled(sampler, seen, batch, embeddings).hard
    present = torch.from_numpy(mined.present[batch.rows.numpy()])
    text = torch.from_numpy(mined.vectors_of(batch.rows.numpy()))[present]
    torch.testing.assert_close(hard[present, 0], sampler.project(text).detach())
    assert hard[~present].isnan().all()
    assert not hard.requires_grad


def trained(seen: Interactions, sampler: object) -> Fitted:
    model = LightGCNModel(seen, embedding_size=8, hops=2, seed=3)

    def validate(result: Embeddings) -> dict[str, float]:
        return {"recall@20": float(result.final_users.square().mean())}

    return fit_model(model, seen, sampler, UniformCandidates(seen), FIT, validate=validate)


@pytest.mark.parametrize("options", [{"without_text": True, "alpha": 0.7}, {"alpha": 0, "align_weight": 0}])
def test_without_text_training_equals_that_of_uniform(
    mined: MinedNegatives, seen: Interactions, options: dict[str, float]
) -> None:
    sampler = build_sampler(mined, projector_l2=0.1, **options)
    before = [parameter.detach().clone() for parameter in sampler.parameters()]
    one, plain = trained(seen, sampler), trained(seen, Uniform())
    assert one.state.curves == plain.state.curves
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(one.model.state_dict()[name], tensor)
    assert all(torch.equal(a, b) for a, b in zip(before, sampler.parameters(), strict=True))
    assert one.state.counters["pairs without a vector"] == 3 * (~mined.present).sum()


def test_without_alpha_the_alignment_still_trains(mined: MinedNegatives, seen: Interactions, batch: Batch) -> None:
    """The literal form with alpha 0: uniform negatives, and eq. 9."""
    embeddings = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()
    sampler = build_sampler(mined, alpha=0, align_weight=0.5)
    result = sampled(sampler, seen, batch, embeddings)
    assert torch.equal(result.vectors[:, 0], embeddings.final_items[drawn(sampler, seen, batch)[:, 0]])
    assert result.auxiliary.item() > 0


def test_the_ablation_of_the_alignment_is_a_weight_of_0(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    one, other = (
        sampled(build_sampler(mined, alpha=0.3, **options), seen, batch, embeddings)
        for options in ({"without_alignment": True, "align_weight": 0.5}, {"align_weight": 0})
    )
    assert torch.equal(one.vectors, other.vectors)
    assert torch.equal(one.auxiliary, other.auxiliary)


def test_norms_are_matched_by_default_and_the_literal_form_has_a_name(mined: MinedNegatives) -> None:
    off = ("detach_projector", "centred", "without_alignment", "without_text", "allow_empty")
    for kind, matched in (("semantic", True), ("semantic-literal", False)):
        config = parse_config(SamplerConfig, {"kind": kind}, where="--sampler")
        flags = {name: value for name, value in dict(config).items() if isinstance(value, bool)}
        assert flags == {"match_norm": matched, **dict.fromkeys(off, False)}
        assert config.build(SamplerInputs(8, mined, 0)).n_candidates == 1
    with pytest.raises(ConfigError, match="match_norm"):
        parse_config(SamplerConfig, {"kind": "semantic-literal", "match_norm": True}, where="--sampler")


def test_the_literal_form_gives_the_bits_of_unmatched_norms(mined: MinedNegatives, seen: Interactions) -> None:
    literal = SemanticLiteral(hidden_size=16).build(SamplerInputs(8, mined, 3))
    one, other = (trained(seen, sampler).model.state_dict() for sampler in (literal, build_sampler(mined)))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_negatives_most_of_which_are_missing_are_refused_unless_allowed(mined: MinedNegatives) -> None:
    inputs = SamplerInputs(8, mined, 0)
    mined.vectors[: len(mined.vectors) // 2] = np.nan  # with every fourth of the others
    with pytest.raises(ConfigError, match=r"\d\d\.\d% of \d+ pairs \(made up\) have no vector.*--allow-empty"):
        Semantic().build(inputs)
    assert Semantic(allow_empty=True).build(inputs).n_candidates == 1


def test_neighbours_that_most_items_lack_are_refused_unless_allowed() -> None:
    items = np.full((9, 2), -1)
    items[:4] = [[7, 8]] * 4
    inputs = SamplerInputs(8, None, 0, ItemNeighbours(items, "text"))
    with pytest.raises(ConfigError, match=r"55\.6% of 9 items \(text\) have no neighbour.*--allow-empty"):
        SemanticMixing(neighbours=2).build(inputs)
    SemanticMixing(neighbours=2, allow_empty=True).build(inputs)
    items[4] = [7, 8]
    SemanticMixing(neighbours=2).build(SamplerInputs(8, None, 0, ItemNeighbours(items, "text")))


def test_norms_and_scores_equal_the_slow_loop(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    sampler = build_sampler(mined, alpha=0.3, negatives=2)
    result, candidates = sampled(sampler, seen, batch, embeddings), drawn(sampler, seen, batch)
    users, items = (table.detach().double().numpy() for table in (embeddings.final_users, embeddings.final_items))
    sums, hards = dict.fromkeys(MEASURED, 0.0), []
    count = 0
    for place, row in enumerate(batch.rows.tolist()):
        text = torch.from_numpy(mined.vectors[row].astype(np.float32))
        if text.isnan().any():
            continue
        count += 1
        user = users[batch.users[place]]
        hard = sampler.project(text.unsqueeze(0))[0].detach().double().numpy()
        hards.append(hard)
        vectors = {
            "e_hard": [hard],
            "uniform negatives": [items[item] for item in candidates[place]],
            "positives": [items[batch.positives[place]]],
        }
        for whose, which in vectors.items():
            sums[f"norm of {whose}"] += np.mean([np.linalg.norm(vector) for vector in which])
            sums[f"score with the user of {whose}"] += np.mean([user @ vector for vector in which])
    squares = np.mean([hard @ hard for hard in hards])
    sums["spread of e_hard"] = count * (1 - np.square(np.mean(hards, axis=0)).sum() / squares)
    assert 0.1 < sums["spread of e_hard"] / count < 1
    assert set(result.totals) == set(MEASURED)
    for name, (total, pairs) in result.totals.items():
        assert pairs == count > 0
        assert total == pytest.approx(sums[name], rel=1e-4)


def test_metrics_hold_the_means_of_every_epoch(mined: MinedNegatives, seen: Interactions) -> None:
    """Steps of unequal size and with unequal gaps: means are over pairs, not over steps."""
    curves = [row for row in trained(seen, build_sampler(mined)).state.curves if row["split"] == "negatives"]
    assert [(row["epoch"], row["metric"]) for row in curves] == [(e, name) for e in (1, 2, 3) for name in MEASURED]
    still = FIT.model_copy(update={"learning_rate": 1e-12, "epochs": 1, "check_every": 1})
    model = LightGCNModel(seen, embedding_size=8, hops=2, seed=3)
    fitted = fit_model(
        model, seen, build_sampler(mined), UniformCandidates(seen), still, validate=lambda _: {"recall@20": 0.0}
    )
    result = {row["metric"]: row["value"] for row in fitted.state.curves}
    items = fitted.embeddings.final_items[torch.from_numpy(seen.items[mined.present])]
    assert result["norm of positives"] == pytest.approx(items.norm(dim=1).mean().item(), rel=1e-5)


def test_equal_vectors_have_no_spread(
    mined: MinedNegatives, seen: Interactions, batch: Batch, embeddings: Embeddings
) -> None:
    sampler = build_sampler(mined)
    torch.nn.init.zeros_(sampler.weight_2)
    torch.nn.init.ones_(sampler.bias_2)
    assert sampled(sampler, seen, batch, embeddings).totals["spread of e_hard"][0] == 0.0


def test_without_vectors_there_are_no_metrics(mined: MinedNegatives, seen: Interactions) -> None:
    mined.vectors[:] = np.nan
    curves = trained(seen, build_sampler(mined, allow_empty=True)).state.curves
    assert {row["split"] for row in curves} == {"train", "valid"}
    assert Items(torch.zeros(1, 1)).totals == {}


@pytest.mark.parametrize("negatives", [1, 3])
def test_several_candidates_are_chosen_as_in_dns(
    mined: MinedNegatives, seen: Interactions, batch: Batch, negatives: int
) -> None:
    embeddings = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()
    sampler = build_sampler(mined, candidates=4, negatives=negatives, alpha=0.3)
    candidates = drawn(sampler, seen, batch)
    result = sampler.sample(batch, embeddings, candidates, STREAM)
    assert isinstance(result, Vectors)
    for row, user in enumerate(batch.users.tolist()):
        for negative in range(negatives):
            group = candidates[row, 4 * negative : 4 * negative + 4].tolist()
            best = max(group, key=lambda item: float(embeddings.final_users[user] @ embeddings.final_items[item]))
            assert result.sources[row, negative, 0] == best
    plain = build_sampler(mined, candidates=4, without_text=True).sample(batch, embeddings, candidates[:, :4], STREAM)
    dns = DNS(candidates=4).build(SamplerInputs(8, None, 0)).sample(batch, embeddings, candidates[:, :4], STREAM)
    assert isinstance(plain, Items)
    assert torch.equal(plain.items, dns.items)


@pytest.mark.parametrize("match_norm", [False, True])
def test_centred_removes_the_mean_and_keeps_the_uniform_negative(
    mined: MinedNegatives, seen: Interactions, batch: Batch, match_norm: bool
) -> None:
    embeddings = LightGCNModel(seen, embedding_size=8, hops=2, seed=1)()
    sampler = build_sampler(mined, centred=True, match_norm=match_norm, alpha=0.3)
    candidates = drawn(sampler, seen, batch)
    result = sampler.sample(batch, embeddings, candidates, STREAM)
    assert isinstance(result, Vectors)
    text = torch.from_numpy(mined.vectors_of(batch.rows.numpy()))
    projected = {row: sampler.project(text[row]) for row in range(len(text)) if not text[row].isnan().any()}
    mean = torch.stack(list(projected.values())).mean(dim=0)
    for row in range(len(text)):
        expected = embeddings.final_items[candidates[row, 0]]
        if row in projected:
            hard = projected[row] - mean
            hard = hard / hard.norm() * expected.norm() if match_norm else hard
            expected = expected + 0.3 * hard
        torch.testing.assert_close(result.vectors[row, 0], expected)
