"""Models that read text: the seam on top of every backbone, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.models.contract import full_batch
from torch import Tensor, nn

from hardneg.config import parse_config
from hardneg.data import Interactions
from hardneg.errors import ConfigError, DataError
from hardneg.models import DGCF, KAR, MF, NGCF, SGL, LightGCN, ModelConfig, SimGCL, TextModel, XSimGCL, build_model
from hardneg.pipeline import RunConfig
from hardneg.random import generator
from hardneg.sampling import SamplerInputs, Uniform, UniformCandidates
from hardneg.text import TextVectors
from hardneg.training import FitConfig, fit_model
from hardneg.types import Batch, Embeddings, Negatives, RequiredRows, TrainingPass, gather_rows, unit_rows

BASES: list[ModelConfig] = [
    MF(embedding_size=8),
    LightGCN(embedding_size=8, hops=2),
    LightGCN(embedding_size=8, hops=2, pooling="concat"),
    NGCF(embedding_size=8, hops=2),
    DGCF(embedding_size=8),
    SGL(embedding_size=8, hops=2),
    SimGCL(embedding_size=8),
    XSimGCL(embedding_size=8),
]


def make_texts(size: int = 5) -> TextVectors:
    """Random text vectors of six users and twelve items; user 1 and items 2 and 7 have none."""
    rng = generator(5, "texts of a test")
    users, items = (unit_rows(rng.standard_normal((n, size))).astype(np.float32) for n in (6, 12))
    users[1], items[[2, 7]] = np.nan, np.nan
    return TextVectors(items, users, "made up")


class Shifted(TextModel):
    """Hop 0 plus a trained shift."""

    def __init__(self, base: nn.Module, texts: TextVectors) -> None:
        super().__init__(base, texts)
        self.shift = nn.Parameter(torch.full((8,), 0.1))

    def start(self) -> tuple[Tensor, Tensor]:
        users, items = super().start()
        return users + self.shift, items + self.shift


@pytest.mark.parametrize("config", BASES, ids=lambda base: base.kind)
def test_without_changes_it_has_the_bits_of_its_base(seen: Interactions, config: ModelConfig) -> None:
    base, batch = config.build(seen, seed=2), full_batch(seen)
    own, model = config.build(seen, seed=2), TextModel(base, make_texts())
    assert model.final_size == own.final_size
    assert list(model.state_dict()) == [f"base.{name}" for name in own.state_dict()]
    passes = [model.training_pass(batch), replace(model.training_pass(batch), auxiliary=None)]
    expected = own.training_pass(batch) if hasattr(own, "training_pass") else TrainingPass(own())
    for made, other in ((model(), own()), (passes[0].embeddings, expected.embeddings)):
        assert torch.equal(made.final_users, other.final_users)
        assert torch.equal(made.final_items, other.final_items)
    if expected.auxiliary is not None:
        assert passes[0].auxiliary.item() == expected.auxiliary.item()


@pytest.mark.parametrize("config", BASES, ids=lambda base: base.kind)
@pytest.mark.parametrize("some", [False, True])
def test_gradients_of_hop_0_go_through_every_base(seen: Interactions, config: ModelConfig, some: bool) -> None:
    """A shift of all rows has the sum of the gradients of the base at the shifted tables."""
    own, model, batch = config.build(seen, seed=2), Shifted(config.build(seen, seed=2), make_texts()), full_batch(seen)
    with torch.no_grad():
        own.users += 0.1
        own.items += 0.1
    others = batch.users != 2
    batch = replace(batch, users=batch.users[others], positives=batch.positives[others])
    required = RequiredRows(np.array([0, 1, 3, 4, 5]), np.arange(12)) if some else None

    def loss(embeddings: Embeddings) -> Tensor:
        users, items = torch.tensor([0, 3, 3, 5]), torch.tensor([1, 1, 2, 8])
        scores = (gather_rows(embeddings.final_users, users) * gather_rows(embeddings.final_items, items)).sum()
        return scores.sin() + gather_rows(embeddings.items[0], items).square().sum()

    def step(module: nn.Module) -> None:
        made = module.training_pass(batch, required) if hasattr(module, "training_pass") else None
        made = made or TrainingPass(module(required))
        total = loss(made.scored or made.embeddings)
        (total if made.auxiliary is None else total + made.auxiliary).backward()

    step(own)
    step(model)
    sums = [table.grad.to_dense().sum(dim=0) for table in (own.users, own.items)]
    torch.testing.assert_close(model.shift.grad, sums[0] + sums[1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.base.users.grad.to_dense(), own.users.grad.to_dense(), rtol=1e-4, atol=1e-5)


class Extra(TextModel):
    """The base with two further losses."""

    def auxiliary(self, embeddings: Embeddings, batch: Batch) -> Tensor:
        return gather_rows(embeddings.final_users, batch.users).square().sum()

    def training_pass(self, batch: Batch, required: RequiredRows | None = None) -> TrainingPass:
        made = super().training_pass(batch, required)

        def of_negatives(negatives: Negatives) -> Tensor:
            self.shapes.append(tuple(negatives.items.shape))
            return gather_rows(made.embeddings.final_items, negatives.items).square().sum()

        return replace(made, auxiliary_of=of_negatives)


def test_its_losses_are_added_and_one_may_read_the_negatives(seen: Interactions) -> None:
    batch = full_batch(seen)
    model = Extra(SGL(embedding_size=8).build(seen, seed=1), make_texts())
    model.shapes = []
    alone = SGL(embedding_size=8).build(seen, seed=1).training_pass(batch)
    own = gather_rows(alone.embeddings.final_users, batch.users).square().sum()
    torch.testing.assert_close(model.training_pass(batch).auxiliary, alone.auxiliary + own)
    config = FitConfig(epochs=1, batch_size=16, check_every=1, learning_rate=0.1, l2=0)

    def train(one: nn.Module) -> Tensor:
        sampler = Uniform().build(SamplerInputs(one.final_size, None, 0))
        return fit_model(one, seen, sampler, UniformCandidates(seen), config, validate=None).embeddings.final_items

    with_text, without = train(model), train(SGL(embedding_size=8).build(seen, seed=1))
    assert set(model.shapes) == {(16, 1), (len(seen) % 16, 1)}
    assert with_text.square().mean() < without.square().mean()


def test_text_is_frozen_and_not_saved(seen: Interactions) -> None:
    model = KAR(base=MF(embedding_size=8)).build_with_texts(seen, make_texts(), seed=0)
    assert not any("texts" in name for name in [*model.state_dict(), *dict(model.named_parameters())])
    assert model.texts.has_user.flatten().tolist() == [1, 0, 1, 1, 1, 1]
    assert model.texts.items[[2, 7]].abs().sum() == 0


def test_what_a_model_cannot_read_is_refused(seen: Interactions) -> None:
    class NoTables(nn.Module):
        final_size = 8

    texts = make_texts()
    with pytest.raises(ConfigError, match="'kar' reads text, found no text vectors"):
        build_model(KAR(), seen, None, seed=0)
    with pytest.raises(ConfigError, match="'mf' reads no text, found text vectors"):
        build_model(MF(), seen, texts, seed=0)
    with pytest.raises(ConfigError, match="base NoTables without the trained table 'users'"):
        TextModel(NoTables(), texts)
    with pytest.raises(DataError, match="text vectors of 5 users and 12 items, expected 6 and 12"):
        build_model(KAR(), seen, replace(texts, users=texts.users[:5]), seed=0)
    for base in ("kar", {"kind": "kar"}):
        with pytest.raises(ConfigError, match="found base 'kar', which reads text itself"):
            parse_config(RunConfig, {"model": {"kind": "kar", "base": base}}, where="x")


def test_the_base_is_named_or_that_of_the_table() -> None:
    named = parse_config(RunConfig, {"model": {"kind": "kar", "base": "mf"}}, where="x")
    assert named.model.base == MF()
    assert RunConfig.model_validate(named.model_dump(mode="json")) == named
    assert named.model.on_top_of(NGCF()).base == MF()
    assert KAR(shared_experts=1).on_top_of(NGCF(hops=2)) == KAR(shared_experts=1, base=NGCF(hops=2))
