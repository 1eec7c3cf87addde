"""RLMRec-Con and -Gen: the contract, slow references forward and backward, missing profiles, and limit cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tests.models.contract import BackboneContract, full_batch
from tests.models.slow_references import parameters_of, slow_lightgcn
from tests.models.test_text_model import make_texts
from torch import Tensor, nn

from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.models import DGCF, MF, NGCF, SGL, LightGCN, ModelConfig, RLMRecCon, RLMRecGen, SimGCL, XSimGCL
from hardneg.models.contrastive import contrast_with_own
from hardneg.random import generator
from hardneg.sampling import MixGCF, SamplerInputs, UniformCandidates
from hardneg.text import TextVectors
from hardneg.training import FitConfig, fit_model
from hardneg.types import Embeddings, Items, Negatives, RequiredRows, TrainingPass, Vectors

BASE = LightGCN(embedding_size=8, hops=2)


def build(
    options: RLMRecCon | RLMRecGen, seen: Interactions, seed: int = 0, texts: TextVectors | None = None
) -> nn.Module:
    return options.build_with_texts(seen, texts or make_texts(), seed=seed)


def without_gaps() -> TextVectors:
    """The texts of `make_texts`, and one for every node that lacks it."""
    some = make_texts()
    users, items = (np.where(np.isfinite(table), table, table[:1]) for table in (some.users, some.items))
    return replace(some, users=users, items=items)


def without_texts() -> TextVectors:
    some = make_texts()
    return replace(some, users=np.full_like(some.users, np.nan), items=np.full_like(some.items, np.nan))


def trained(model: nn.Module, seen: Interactions) -> Embeddings:
    """Train two epochs with a sampler that mixes hops."""
    config = FitConfig(epochs=2, batch_size=16, check_every=2, learning_rate=0.05, l2=1e-2, seed=3)
    sampler = MixGCF(candidates=2).build(SamplerInputs(model.final_size, None, 3))
    return fit_model(model, seen, sampler, UniformCandidates(seen), config, validate=None).embeddings


def assert_close(one: Embeddings, other: Embeddings) -> None:
    """Compare final tables; gradients may be added in another order."""
    torch.testing.assert_close(one.final_users, other.final_users)
    torch.testing.assert_close(one.final_items, other.final_items)


class _TrainedInSteps:
    """Their own parameters are read in training steps alone."""

    def test_gradients_reach_every_parameter(self, seen: Interactions) -> None:
        model = self.make(seen)
        total(model.training_pass(full_batch(seen)), drawn(seen)).backward()
        assert all(p.grad is not None and p.grad.to_dense().abs().sum() > 0 for p in model.parameters())


class TestRLMRecCon(_TrainedInSteps, BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(RLMRecCon(base=BASE, weight=0.5), seen, seed)


class TestRLMRecConInBatch(_TrainedInSteps, BackboneContract):
    hops = 0

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(RLMRecCon(base=MF(embedding_size=8), contrast="batch"), seen, seed)


class TestRLMRecGen(_TrainedInSteps, BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(RLMRecGen(base=BASE, mask_ratio=0.3), seen, seed)


class TestRLMRecGenInBatch(_TrainedInSteps, BackboneContract):
    hops = 2

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        return build(RLMRecGen(base=BASE, mask_ratio=0.5, contrast="batch"), seen, seed)


def drawn(seen: Interactions) -> Items:
    """Two negatives of every pair of `full_batch`; some repeat, some are items without a text."""
    n = len(full_batch(seen).rows)
    return Items(torch.from_numpy(np.random.default_rng(1).integers(12, size=(n, 2))))


def total(computed: TrainingPass, negatives: Negatives) -> Tensor:
    read = computed.scored or computed.embeddings
    parts = [read.final_users.nansum() * 1e-3, read.final_items.nansum() * 1e-3]
    parts += [] if computed.auxiliary is None else [computed.auxiliary]
    return torch.stack(parts + ([] if computed.auxiliary_of is None else [computed.auxiliary_of(negatives)])).sum()


def cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum() / (a.square().sum().sqrt() * b.square().sum().sqrt())


def slow_contrast(pairs: list[tuple[Tensor, Tensor]], profiles: list[Tensor], temperature: float) -> Tensor:
    """Ren et al. (2024): the mean over (row, own profile), one at a time."""
    losses = []
    for row, own in pairs:
        below = torch.stack([torch.exp(cosine(row, other) / temperature) for other in profiles]).sum()
        losses.append(-torch.log(torch.exp(cosine(row, own) / temperature) / below))
    return torch.stack(losses).sum() / len(losses)


def slow_perceptron(model: nn.Module, parameters: dict[str, Tensor]) -> Callable[[Tensor], Tensor]:
    names = [name for name in parameters if name.startswith("map.weights")]

    def apply(row: Tensor) -> Tensor:
        for layer in range(len(names)):
            row = torch.where(row > 0, row, 0.01 * row) if layer else row
            row = row @ parameters[f"map.weights.{layer}"] + parameters[f"map.biases.{layer}"]
        return row

    return apply


def as_double(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters for a slow reference; biases are set first, so that their place shows."""
    for name, parameter in model.named_parameters():
        if "biases" in name:
            nn.init.uniform_(parameter, -0.5, 0.5, torch.Generator().manual_seed(1))
    return parameters_of(model)


def assert_gradients(model: nn.Module, slow: dict[str, Tensor]) -> None:
    for name, parameter in model.named_parameters():
        expected = torch.zeros_like(slow[name]) if slow[name].grad is None else slow[name].grad
        assert parameter.grad is not None, name
        torch.testing.assert_close(parameter.grad.to_dense().double(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_the_contrast_equals_the_slow_loop_with_its_gradients(rows: int) -> None:
    rng = np.random.default_rng(2)
    own, counts = torch.from_numpy(rng.integers(6, size=rows)), torch.from_numpy(rng.integers(1, 4, size=rows))
    tables = [torch.from_numpy(rng.normal(size=(n, 5))).requires_grad_() for n in (rows, 6)]
    others = [table.detach().clone().requires_grad_() for table in tables]
    loss = contrast_with_own(*tables, own, 0.3, counts)
    pairs = [(others[0][r], others[1][own[r]]) for r in range(rows) for _ in range(int(counts[r]))]
    expected = slow_contrast(pairs, list(others[1]), 0.3)
    loss.backward()
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-10)
    for table, other in zip(tables, others, strict=True):
        torch.testing.assert_close(table.grad, other.grad)


def test_contrasts_without_rows_or_with_one_profile_are_zero() -> None:
    one = torch.randn(1, 4)
    assert contrast_with_own(one[:0], one, torch.empty(0, dtype=torch.long), 0.2).item() == 0
    assert contrast_with_own(one, torch.randn(1, 4), torch.tensor([0]), 0.2).item() == 0


@pytest.mark.parametrize("texts", [make_texts(), without_gaps()], ids=["some missing", "none missing"])
@pytest.mark.parametrize("contrast", ["all", "batch"])
def test_con_equals_the_slow_loop_with_its_gradients(seen: Interactions, contrast: str, texts: TextVectors) -> None:
    options = RLMRecCon(base=BASE, weight=0.7, temperature=0.3, contrast=contrast)
    model, batch, negatives = build(options, seen, 4, texts), full_batch(seen), drawn(seen)
    slow = as_double(model)
    apply = slow_perceptron(model, slow)
    final = slow_lightgcn(seen, [*slow["base.users"], *slow["base.items"]])
    of_users, of_items = (
        {n: apply(torch.from_numpy(row).double()) for n, row in enumerate(table) if np.isfinite(row).all()}
        for table in (texts.users, texts.items)
    )
    expected = torch.zeros(())
    groups = [
        (batch.users.tolist(), of_users, 0, contrast == "all"),
        (batch.positives.tolist(), of_items, 6, False),
        (negatives.items.flatten().tolist(), of_items, 6, False),
    ]
    for nodes, profiles, offset, against_all in groups:
        pairs = [(final[offset + n], profiles[n]) for n in nodes if n in profiles]
        against = [profiles[n] for n in (profiles if against_all else sorted(set(nodes) & set(profiles)))]
        expected = expected + slow_contrast(pairs, against, 0.3)
    loss = model.training_pass(batch).auxiliary_of(negatives)
    loss.backward()
    (0.7 * expected).backward()
    assert loss.item() == pytest.approx(0.7 * expected.item(), rel=1e-4)
    assert_gradients(model, slow)


@pytest.mark.parametrize("texts", [make_texts(), without_gaps()], ids=["some missing", "none missing"])
@pytest.mark.parametrize("contrast", ["all", "batch"])
def test_gen_equals_the_slow_loop_with_its_gradients(seen: Interactions, contrast: str, texts: TextVectors) -> None:
    options = RLMRecGen(base=BASE, weight=0.7, temperature=0.3, mask_ratio=0.5, contrast=contrast)
    model, batch = build(options, seen, 4, texts), full_batch(seen, 2, 1)
    slow = as_double(model)
    vectors = [torch.from_numpy(row).double() for row in (*texts.users, *texts.items)]
    known = np.array([n for n, row in enumerate(vectors) if row.isfinite().all()])
    masked = sorted(generator(4, "masked nodes, step 1", 2).permutation(known)[: round(len(known) / 2)].tolist())
    start = [*slow["base.users"], *slow["base.items"]]
    final = slow_lightgcn(seen, [slow["token"][0] if n in masked else row for n, row in enumerate(start)])
    of_batch = {*batch.users.tolist(), *(6 + item for item in batch.positives.tolist())}
    read = [n for n in masked if contrast == "all" or n in of_batch]
    assert 2 < len(read) <= len(masked)
    apply = slow_perceptron(model, slow)
    loop = slow_contrast([(apply(final[n]), vectors[n]) for n in read], [vectors[n] for n in read], 0.3)
    computed = model.training_pass(batch)
    torch.testing.assert_close(computed.scored.final_users.double(), torch.stack(final[:6]), rtol=1e-4, atol=1e-6)
    assert torch.equal(computed.embeddings.final_users, model().final_users)
    computed.auxiliary.backward()
    (0.7 * loop).backward()
    assert computed.auxiliary.item() == pytest.approx(0.7 * loop.item(), rel=1e-4)
    assert_gradients(model, slow)


def test_masked_nodes_change_with_the_step_and_have_a_profile(seen: Interactions) -> None:
    model = build(RLMRecGen(base=BASE, mask_ratio=0.4), seen)
    nodes = [model.draw(full_batch(seen, *when)) for when in ((1, 0), (1, 1), (2, 0), (1, 0))]
    names = [(tuple(one.users.tolist()), tuple(one.items.tolist())) for one in nodes]
    assert names[0] == names[3]
    assert len(set(names)) == 3
    for users, items in names:
        assert len(users) + len(items) == round(0.4 * 15)
        assert 1 not in users
        assert not {2, 7} & set(items)
    few = build(RLMRecGen(base=BASE, mask_ratio=1e-6), seen).draw(full_batch(seen))
    assert len(few.users) + len(few.items) == 1


def test_a_single_masked_node_has_no_loss(seen: Interactions) -> None:
    model = build(RLMRecGen(base=BASE, mask_ratio=1e-6), seen)
    assert model.training_pass(full_batch(seen)).auxiliary.item() == 0


@pytest.mark.parametrize(
    "base",
    [NGCF(embedding_size=8), DGCF(embedding_size=8), SGL(embedding_size=8), SimGCL(embedding_size=8), XSimGCL()],
    ids=lambda base: base.kind,
)
@pytest.mark.parametrize("kind", [RLMRecCon, RLMRecGen])
@pytest.mark.parametrize("required", [None, RequiredRows(np.arange(6), np.arange(12))], ids=["all", "required"])
def test_every_backbone_is_a_base_and_keeps_its_own_loss(
    seen: Interactions, base: ModelConfig, kind: type[Any], required: RequiredRows | None
) -> None:
    model = build(kind(base=base, mask_ratio=0.5) if kind is RLMRecGen else kind(base=base), seen, 3)
    computed, alone = model.training_pass(full_batch(seen), required), base.build(seen, seed=3)
    if kind is RLMRecCon and hasattr(alone, "training_pass"):
        own = alone.training_pass(full_batch(seen), required).auxiliary
        assert own is None or computed.auxiliary.item() == pytest.approx(own.item(), rel=1e-6)
    loss = total(computed, drawn(seen))
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad is not None for name, parameter in model.named_parameters() if "base" not in name)


@pytest.mark.parametrize("base", [BASE, MF(embedding_size=8), SGL(embedding_size=8)], ids=lambda base: base.kind)
def test_con_with_weight_0_or_without_texts_trains_its_base(seen: Interactions, base: ModelConfig) -> None:
    plain = trained(base.build(seen, seed=3), seen)
    for options, texts in ((RLMRecCon(base=base, weight=0), make_texts()), (RLMRecCon(base=base), without_texts())):
        assert_close(trained(build(options, seen, 3, texts), seen), plain)


def test_gen_without_texts_trains_its_base(seen: Interactions) -> None:
    plain = trained(BASE.build(seen, seed=3), seen)
    assert_close(trained(build(RLMRecGen(base=BASE), seen, 3, without_texts()), seen), plain)


def test_gen_with_weight_0_trains_its_base_on_masked_tables(seen: Interactions) -> None:
    weighted, unweighted = (
        build(RLMRecGen(base=BASE, weight=w), seen, 3).training_pass(full_batch(seen)) for w in (1, 0)
    )
    assert weighted.auxiliary.item() > 0 == unweighted.auxiliary.item()
    assert_close(weighted.scored, unweighted.scored)
    assert_close(unweighted.embeddings, BASE.build(seen, seed=3)())


def test_mixed_negatives_count_as_their_first_item(seen: Interactions) -> None:
    model, items = build(RLMRecCon(base=BASE), seen), drawn(seen).items
    nothing = torch.zeros(*items.shape, 8)
    mixed = Vectors(nothing, nothing, torch.stack([items, items * 0], dim=2), ("hop 0", "hop 1"))
    added = model.training_pass(full_batch(seen)).auxiliary_of
    assert added(mixed).item() == added(Items(items)).item()
    without = replace(mixed, sources=torch.full_like(mixed.sources, -1))
    assert added(without).item() == added(Items(items[:, :0])).item() != added(mixed).item()


def test_without_profiles_of_users_items_are_contrasted(seen: Interactions) -> None:
    texts = replace(make_texts(), users=without_texts().users)
    model, batch, negatives = build(RLMRecCon(base=BASE, weight=1), seen, texts=texts), full_batch(seen), drawn(seen)
    loss = model.training_pass(batch).auxiliary_of(negatives)
    assert loss.item() == pytest.approx(
        sum(
            model._of_items(items, model().final_items).item() for items in (batch.positives, negatives.items.flatten())
        )
    )


def test_a_base_without_a_graph_has_nothing_to_reconstruct_from(seen: Interactions) -> None:
    with pytest.raises(ConfigError, match="choose lightgcn, or the model rlmrec-con"):
        build(RLMRecGen(base=MF(embedding_size=8)), seen)
