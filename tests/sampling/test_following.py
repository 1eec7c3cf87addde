"""SRNS and GDNS against slow loops over several epochs; limits; their state resumes; it changes the outcome."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hardneg.checkpoint import CheckpointFile
from hardneg.config import parse_config
from hardneg.data import Interactions
from hardneg.errors import ConfigError
from hardneg.models import MFModel
from hardneg.random import Stream
from hardneg.sampling import (
    DNS,
    GDNS,
    SRNS,
    InBatchCandidates,
    PairFactors,
    PopularityCandidates,
    SamplerConfig,
    SamplerInputs,
    TrainingPairs,
    UniformCandidates,
    WeighedSampler,
)
from hardneg.sampling.sampler import CandidateSource
from hardneg.sampling.srns import SRNSSampler, deviation
from hardneg.training import FitConfig, Fitted, fit_model
from hardneg.types import Batch, Embeddings

NOTHING = torch.empty(0, 0, dtype=torch.int64)


def inputs_of(seen: Interactions, source: CandidateSource | None = None) -> SamplerInputs:
    pairs = TrainingPairs(seen, seen.users, seen.items, source or UniformCandidates(seen))
    return SamplerInputs(8, None, 4, pairs=pairs)


@functools.cache
def tables_of(epoch: int) -> Embeddings:
    """Other embeddings in every epoch."""
    torch.manual_seed(epoch)
    return Embeddings((torch.randn(6, 8),), (torch.randn(12, 8),), "mean")


def score(epoch: int, user: int, item: int) -> float:
    return float(scores_of(epoch)[user, item])


@functools.cache
def scores_of(epoch: int) -> Tensor:
    return tables_of(epoch).final_users.double() @ tables_of(epoch).final_items.double().T


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


OPTIONS = SRNS(memory=3, extension=2, pool=4, window=3, alpha=2.0, warmup=4, temperature=0.5)


class SlowSRNS:
    """The memory of every user as a list of (item, first epoch that followed it)."""

    def __init__(self, options: SRNS, seen: Interactions) -> None:
        self.options, self.seen = options, seen
        drawn = self.draw("memory of srns", 0, options.memory)
        self.memory = [[(item, 1) for item in row] for row in drawn.tolist()]

    def draw(self, purpose: str, epoch: int, n: int) -> np.ndarray:
        return UniformCandidates(self.seen).draw(np.arange(6), np.arange(6), n=n, stream=Stream(4, purpose, epoch))

    def step(self, batch: Batch, stream: Stream) -> list[int]:
        epoch, options, chosen = batch.epoch, self.options, []
        for user, positive in zip(batch.users.tolist(), batch.positives.tolist(), strict=True):
            values = []
            for item, first in self.memory[user]:
                seen_in = range(max(first, epoch - options.window + 1), epoch + 1)
                past = [sigmoid(score(t, user, item) - score(t, user, positive)) for t in seen_in]
                std = float(np.std(past)) if len(past) >= 2 else 0.0
                now = sigmoid(score(epoch, user, item) - score(epoch, user, positive))
                values.append(now + options.alpha * min(1, epoch / options.warmup) * std)
            chosen.append(self.memory[user][int(np.argmax(values))][0])
        pool, done = self.draw("pools of srns", epoch, options.pool), set[int]()
        for user, row in zip(batch.users.tolist(), batch.rows.numpy(), strict=True):
            if user in done:
                continue
            done.add(user)
            units = replace(stream, purpose="sampler, memory").uniform(np.array([row]), 4 + 3 + 2)[0].astype(float)
            joining = [int(place) for place in np.argsort(units[:4])[:2]]
            known = self.memory[user] + [(int(pool[user, k]), max(1, epoch - options.window)) for k in joining]
            keys = [
                score(epoch, user, item) / options.temperature - math.log(-math.log(unit))
                for (item, _), unit in zip(known, units[4:], strict=True)
            ]
            self.memory[user] = [known[k] for k in np.argsort(-np.array(keys))[: options.memory]]
        return chosen


def test_srns_equals_the_slow_loop_over_epochs(seen: Interactions) -> None:
    """Nine epochs of two steps, so that pools are replaced and histories wrap around."""
    sampler, slow = OPTIONS.build(inputs_of(seen)), SlowSRNS(OPTIONS, seen)
    differs = False
    for epoch in range(1, 10):
        tables, stream = tables_of(epoch), Stream(4, "sampler", epoch)
        sampler.begin_epoch(epoch, tables)
        for step in range(2):
            rows = np.arange(step, len(seen), 2)
            batch = Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), epoch, step)
            others = set(sampler.other_items(batch, NOTHING, stream).flatten().tolist())
            plain = [max(slow.memory[u], key=lambda known, u=u: score(epoch, u, known[0]))[0] for u in seen.users[rows]]
            result = sampler.sample(batch, tables, NOTHING, stream).items[:, 0].tolist()
            assert result == slow.step(batch, stream)
            assert set(result) <= others
            differs |= result != plain
            if epoch == 1:
                assert result == plain, "before any history it is the hardest item of the memory"
            memory = [[item for item, _ in known] for known in slow.memory]
            assert [sorted(row) for row in sampler.memory_items.tolist()] == [sorted(row) for row in memory]
    assert differs


def test_the_deviation_before_any_history_is_0() -> None:
    nan = math.nan
    values = torch.tensor([[nan, nan, nan], [nan, 0.3, nan], [0.2, nan, 0.4], [0.1, 0.2, 0.6]])
    expected = [0.0, 0.0, 0.1, float(np.std([0.1, 0.2, 0.6]))]
    assert deviation(values).tolist() == pytest.approx(expected)


def test_srns_at_alpha_0_is_dns_over_the_memory(seen: Interactions, batch: Batch) -> None:
    sampler = OPTIONS.model_copy(update={"alpha": 0.0}).build(inputs_of(seen))
    for epoch in range(1, 4):
        sampler.begin_epoch(epoch, tables_of(epoch))
    memory = sampler.memory_items[batch.users].clone()
    late = replace(batch, epoch=3)
    result = sampler.sample(late, tables_of(3), NOTHING, Stream(4, "sampler", 3))
    hardest = DNS(candidates=3).build(SamplerInputs(8, None, 0)).sample(late, tables_of(3), memory, Stream(0, "", 0))
    assert torch.equal(result.items, hardest.items)


def test_small_temperatures_keep_the_hardest_items(seen: Interactions) -> None:
    everything = SRNS(memory=2, extension=4, pool=4, temperature=1e-4)
    sampler: SRNSSampler = everything.build(inputs_of(seen))
    rows = np.flatnonzero(seen.users == 0)[:1]
    batch = Batch(*(torch.from_numpy(a) for a in (rows, seen.users[rows], seen.items[rows])), 1, 0)
    known = [*sampler.memory_items[0].tolist(), *sampler.pool_items[0, 0].tolist()]
    sampler.begin_epoch(1, tables_of(1))
    sampler.sample(batch, tables_of(1), NOTHING, Stream(4, "sampler", 1))
    best = sorted(known, key=lambda item: -score(1, 0, item))[:2]
    assert sampler.memory_items[0].tolist() == best


@pytest.mark.parametrize("change", ["ratio", "difference"])
def test_gdns_equals_the_slow_loop_over_epochs(seen: Interactions, batch: Batch, change: str) -> None:
    options = GDNS(pool=5, candidates=3, renewed=2, decay=0.3, change=change)
    sampler, neutral = options.build(inputs_of(seen)), 1.0 if change == "ratio" else 0.0
    source, users = UniformCandidates(seen), np.arange(6)
    items = source.draw(users, users, n=5, stream=Stream(4, "pool of gdns", 1))
    preferences, gains = np.full((6, 5), np.nan), np.full((6, 5), neutral)
    for epoch in range(1, 8):
        sampler.begin_epoch(epoch, tables_of(epoch))
        if epoch > 1:
            new = source.draw(users, users, n=2, stream=Stream(4, "pool of gdns", epoch))
            for k in range(2):
                place = ((epoch - 2) * 2 + k) % 5
                items[:, place], preferences[:, place], gains[:, place] = new[:, k], np.nan, neutral
        for user in range(6):
            for place in range(5):
                wins = [
                    sigmoid(score(epoch, user, items[user, place]) - score(epoch, user, i)) for i in seen.items_of(user)
                ]
                h, before = sum(wins) / len(wins), preferences[user, place]
                if not math.isnan(before):
                    moved = before / h if change == "ratio" else before - h
                    gains[user, place] = 0.3 * gains[user, place] + 0.7 * moved
                preferences[user, place] = h
        np.testing.assert_allclose(sampler.gains, gains, rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(sampler.items, items)
        stream, now = Stream(4, "sampler", epoch), replace(batch, epoch=epoch)
        result = sampler.sample(now, tables_of(epoch), NOTHING, stream).items[:, 0].tolist()
        for row, (user, unit) in enumerate(zip(batch.users, stream.uniform(batch.rows.numpy(), 3), strict=True)):
            places = [int(float(u) * 5) for u in unit]
            best = max(places, key=lambda place: gains[user, place]) if epoch > 1 else places[0]
            assert result[row] == items[user, best]


def test_gdns_before_two_measurements_is_uniform_over_the_pool(seen: Interactions) -> None:
    n = 20_000
    sampler = GDNS(pool=4, candidates=3).build(inputs_of(seen))
    sampler.begin_epoch(1, tables_of(1))
    with torch.no_grad():
        sampler.items[0] = torch.arange(4)
    pairs = Batch(torch.arange(n), torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64), 1, 0)
    chosen = sampler.sample(pairs, tables_of(1), NOTHING, Stream(4, "sampler", 1)).items[:, 0].numpy()
    np.testing.assert_allclose(np.bincount(chosen, minlength=4) / n, 0.25, atol=0.015)


FOLLOWING = {"srns": OPTIONS, "gdns": GDNS(pool=5, candidates=3)}


def fit(
    seen: Interactions, options: SamplerConfig, weigh: bool = False, **more: object
) -> tuple[Fitted, dict[str, Tensor]]:
    sampler = options.build(inputs_of(seen))
    factors = PairFactors.of(seen, np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), 1.0)
    config = FitConfig(epochs=6, batch_size=16, learning_rate=0.05, check_every=2, patience=9, seed=3)
    given = WeighedSampler(sampler, factors) if weigh else sampler
    model = MFModel(seen, embedding_size=8, seed=3)
    options_of_fit = {"validate": lambda _: {"recall@20": 0.5}, **more}
    fitted = fit_model(model, seen, given, UniformCandidates(seen), config, **options_of_fit)
    return fitted, {**sampler.state_dict(), "users": model.users.detach(), "loss": torch.tensor(losses(fitted))}


def losses(fitted: Fitted) -> list[float]:
    return [row["value"] for row in fitted.state.curves if row["split"] == "train"]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[name].nan_to_num(9e9), other[name].nan_to_num(9e9)) for name in one)


@pytest.mark.parametrize("name", list(FOLLOWING))
def test_an_interrupted_run_has_the_same_bits(name: str, seen: Interactions, tmp_path: Path) -> None:
    _, whole = fit(seen, FOLLOWING[name])
    for stop_at in (3, 8, 11):
        folder, steps = tmp_path / str(stop_at), iter(range(1000))
        folder.mkdir()

        def stop(*_: object, steps: object = steps, stop_at: int = stop_at) -> None:
            if next(steps) == stop_at:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(seen, FOLLOWING[name], resume=CheckpointFile(folder, "key"), watch=stop)
        _, resumed = fit(seen, FOLLOWING[name], resume=CheckpointFile(folder, "key"))
        assert same(whole, resumed)


@pytest.mark.parametrize("name", list(FOLLOWING))
def test_epochs_reach_a_sampler_inside_another(name: str, seen: Interactions) -> None:
    assert same(fit(seen, FOLLOWING[name])[1], fit(seen, FOLLOWING[name], weigh=True)[1])


@pytest.mark.parametrize(("name", "off"), [("srns", {"alpha": 0.0}), ("gdns", {"candidates": 1})], ids=["srns", "gdns"])
def test_what_is_followed_changes_the_outcome(name: str, off: dict[str, float], seen: Interactions) -> None:
    with_it, without = (fit(seen, options)[1] for options in (FOLLOWING[name], FOLLOWING[name].model_copy(update=off)))
    assert not torch.equal(with_it["users"], without["users"])


@pytest.mark.parametrize("name", list(FOLLOWING))
def test_pools_come_from_the_candidate_source(name: str, seen: Interactions) -> None:
    only = np.zeros(12)
    only[[3, 6, 9]] = 1.0
    allowed: Callable[[], CandidateSource] = lambda: PopularityCandidates(few, only)  # noqa: E731
    few = Interactions.of(np.arange(6), np.array([3, 6, 9, 3, 6, 9]), n_users=6, n_items=12)
    sampler = FOLLOWING[name].build(inputs_of(few, allowed()))
    items = torch.cat([value.flatten() for value in sampler.buffers() if value.dtype == torch.int64])
    assert set(items.tolist()) == {3, 6, 9}
    with pytest.raises(ConfigError, match=rf"'{name}' .*fit\.candidates"):
        FOLLOWING[name].build(inputs_of(seen, InBatchCandidates(seen, seen.items)))
    with pytest.raises(ConfigError, match=rf"'{name}' found no training pairs"):
        FOLLOWING[name].build(SamplerInputs(8, None, 0))


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(ConfigError, match="extension 5 of a pool of 4"):
        parse_config(SamplerConfig, {"kind": "srns", "extension": 5, "pool": 4}, where="--sampler srns")
    with pytest.raises(ConfigError, match="5 renewed items of a pool of 4"):
        parse_config(SamplerConfig, {"kind": "gdns", "renewed": 5, "pool": 4}, where="--sampler gdns")
