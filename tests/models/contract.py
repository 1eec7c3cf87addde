"""The contract of all backbones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hardneg.checkpoint import CheckpointFile
from hardneg.data import Interactions
from hardneg.models import compute_training_pass
from hardneg.sampling import DNS, MixGCF, SamplerConfig, SamplerInputs, Uniform, UniformCandidates
from hardneg.training import FitConfig, Fitted, fit_model
from hardneg.types import Batch, Embeddings, RequiredRows

CONFIG = FitConfig(epochs=3, batch_size=16, learning_rate=0.05, l2=1e-2, check_every=2, seed=3)


def full_batch(seen: Interactions, epoch: int = 1, step: int = 0) -> Batch:
    """Every second pair, with repeated users and items."""
    rows = np.arange(0, len(seen), 2)
    return Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), epoch=epoch, step=step)


def by_norm(embeddings: Embeddings) -> dict[str, float]:
    return {"recall@20": float(embeddings.final_users.square().mean())}


class BackboneContract:
    """Tests of every backbone; a subclass builds one."""

    hops = 0

    def make(self, seen: Interactions, seed: int = 0) -> nn.Module:
        raise NotImplementedError

    def train(self, seen: Interactions, sampler: SamplerConfig, **options: object) -> Fitted:
        model = self.make(seen, 3)
        built = sampler.build(SamplerInputs(model.final_size, None, 3))
        options = {"validate": by_norm, **options}
        return fit_model(model, seen, built, UniformCandidates(seen), CONFIG, **options)

    def test_hop_tables_have_one_row_a_user_and_an_item(self, seen: Interactions) -> None:
        embeddings = self.make(seen)()
        assert len(embeddings.users) == len(embeddings.items) == self.hops + 1
        assert {table.shape for table in embeddings.users} == {(6, 8)}
        assert {table.shape for table in embeddings.items} == {(12, 8)}

    def test_final_size_is_that_of_the_pooled_tables(self, seen: Interactions) -> None:
        model = self.make(seen)
        assert model().final_users.shape == (6, model.final_size)
        assert model().final_items.shape == (12, model.final_size)

    def test_same_seed_same_start_other_seed_another(self, seen: Interactions) -> None:
        first, again, other = (self.make(seen, seed).state_dict() for seed in (1, 1, 2))
        assert all(torch.equal(first[name], again[name]) for name in first)
        assert not any(torch.equal(first[name], other[name]) for name in first if "bias" not in name)

    def test_gradients_reach_every_parameter(self, seen: Interactions) -> None:
        model = self.make(seen)
        (model().final_users.sum() * model().final_items.square().sum()).backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())

    def test_global_random_state_is_neither_read_nor_changed(self, seen: Interactions) -> None:
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = self.make(seen).state_dict()
        compute_training_pass(self.make(seen), full_batch(seen), None)
        assert torch.equal(before, torch.get_rng_state())
        torch.manual_seed(2)
        assert all(torch.equal(first[name], value) for name, value in self.make(seen).state_dict().items())

    def test_a_call_has_the_same_bits_every_time(self, seen: Interactions) -> None:
        model = self.make(seen)
        first, again = model(), model()
        assert torch.equal(first.final_users, again.final_users)
        assert torch.equal(first.final_items, again.final_items)

    def test_a_training_pass_depends_on_seed_epoch_and_step_alone(self, seen: Interactions) -> None:
        batch = full_batch(seen, epoch=2, step=1)
        model, fresh = self.make(seen), self.make(seen)
        compute_training_pass(model, full_batch(seen), None)
        passes = [compute_training_pass(one, batch, None) for one in (model, fresh)]
        one, other = (p.scored or p.embeddings for p in passes)
        assert torch.equal(one.final_users, other.final_users)
        if passes[0].auxiliary is not None:
            assert passes[0].auxiliary.item() == passes[1].auxiliary.item() != 0

    def test_required_rows_have_the_same_values(self, seen: Interactions) -> None:
        batch, required = full_batch(seen), RequiredRows(np.array([0, 1, 3, 4, 5]), np.arange(12))
        others = batch.users != 2
        batch = replace(batch, users=batch.users[others], positives=batch.positives[others])
        whole, part = (compute_training_pass(self.make(seen), batch, rows) for rows in (None, required))
        for one, other in ((whole.embeddings, part.embeddings), (whole.scored, part.scored)):
            if one is not None:
                torch.testing.assert_close(one.final_users[required.users], other.final_users[required.users])
                torch.testing.assert_close(one.final_items, other.final_items)
        if whole.auxiliary is not None:
            torch.testing.assert_close(whole.auxiliary, part.auxiliary)

    @pytest.mark.parametrize("sampler", [Uniform(), DNS(candidates=3), MixGCF(candidates=3)], ids=lambda s: s.kind)
    def test_every_parameter_is_trained_and_a_resumed_run_has_the_same_bits(
        self, seen: Interactions, sampler: SamplerConfig, tmp_path: Path
    ) -> None:
        whole, start = self.train(seen, sampler), self.make(seen, 3).state_dict()
        assert all(not torch.equal(start[name], value) for name, value in whole.model.state_dict().items())
        steps = iter(range(1000))

        def stop(*_: object) -> None:
            if next(steps) == 4:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            self.train(seen, sampler, resume=CheckpointFile(tmp_path, "key"), watch=stop)
        resumed = self.train(seen, sampler, resume=CheckpointFile(tmp_path, "key"))
        assert resumed.state.curves == whole.state.curves
        assert all(
            torch.equal(value, resumed.model.state_dict()[name]) for name, value in whole.model.state_dict().items()
        )
