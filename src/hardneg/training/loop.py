"""One training loop for any backbone with any sampler."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hardneg.checkpoint import CheckpointFile
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, HardnegError
from hardneg.models import Anchor
from hardneg.models.anchor import pull
from hardneg.models.propagation import dense
from hardneg.random import Stream, generator
from hardneg.sampling import CandidateSource, NegativeSampler
from hardneg.sampling.sampler import items_read
from hardneg.training.checkpoint import TrainingState, copied, device_of, load_checkpoint, save_checkpoint
from hardneg.training.config import FitConfig
from hardneg.training.extra import ExtraPositives, Positives
from hardneg.training.memory import keep_freed_memory
from hardneg.training.objective import weighted_objective
from hardneg.types import Batch, Embeddings, Indices, Negatives, Observer, RequiredRows

Validate = Callable[[Embeddings], Mapping[str, float]]
"""Metric name -> value on the validation pairs; all that the loop learns of held-out pairs."""


Watch = Callable[[int, int, int, float, float], None]
"""Told after every step, for a progress line: epoch (from 1), step (from 1), steps of an epoch, mean loss of the epoch
so far, best validation value so far (-inf before the first look)."""


@dataclass(frozen=True)
class Fitted:
    """A trained model, put back to its best epoch, and how it got there.

    seconds: wall time over all attempts, looks at validation included.
    """

    model: nn.Module
    progressed: TrainingState

    @property
    def embeddings(self) -> Embeddings:
        """The best epoch's hop tables, without gradients."""
        with torch.no_grad():
            found: Embeddings = self.model()
        return found


class TrainingDivergedError(HardnegError, ArithmeticError):
    """The loss is no finite number."""


def fit(
    model: nn.Module,
    train: Interactions,
    sampler: NegativeSampler,
    candidates: CandidateSource,
    config: FitConfig,
    *,
    validate: Validate,
    extra: ExtraPositives | None = None,
    observers: Sequence[Observer] = (),
    resume: CheckpointFile | None = None,
    watch: Watch | None = None,
    anchor: Anchor | None = None,
) -> Fitted:
    """Train with Adam until the validation metric stops rising, and put the best epoch's tensors back.

    anchor: places that the hop-0 rows of items are pulled to; where they start is the model's affair. extra: pairs that
    an epoch passes over besides the train pairs, with a weight in the loss. The same seed gives the same result to the
    last bit on one CPU thread, also when killed and resumed.
    """
    keep_freed_memory()
    positives = Positives(train, extra)
    loop = _Loop(model, positives, sampler, candidates, config, observers=observers, watch=watch, anchor=anchor)
    best = copied(model)
    progressed = TrainingState()
    if resume is not None and (found := load_checkpoint(resume, loop.modules, loop.adam, observers)):
        progressed, best = found
    while progressed.epoch < config.epochs and progressed.looks_without_gain < config.patience:
        started = time.perf_counter()
        passed = loop.epoch(progressed.epoch + 1, progressed.best_value)
        progressed.epoch += 1
        _record(progressed, "train", {"loss": passed.loss})
        _record(progressed, "negatives", passed.means)
        _add(progressed.counters, passed.counters)
        looks = progressed.epoch % config.check_every == 0 or progressed.epoch == config.epochs
        if looks:
            best = _look(model, progressed, validate, config, best)
        progressed.seconds += time.perf_counter() - started
        if looks and resume is not None:
            loop.save(resume, progressed, best)
    model.load_state_dict(best)
    return Fitted(model, progressed)


def _look(
    model: nn.Module, progressed: TrainingState, validate: Validate, config: FitConfig, best: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Measure on validation; return the tensors to keep."""
    with torch.no_grad():
        measured = validate(model())
    if config.select not in measured:
        raise ConfigError(
            f"select is {config.select}, but validation measures {', '.join(measured)}; choose one of these"
        )
    _record(progressed, "valid", measured)
    if measured[config.select] > progressed.best_value:
        progressed.best_value, progressed.best_epoch = measured[config.select], progressed.epoch
        progressed.looks_without_gain = 0
        return copied(model)
    progressed.looks_without_gain += 1
    return best


@dataclass(frozen=True)
class _Epoch:
    """One pass: mean loss, and of the sampler its counters and the means of what it measured."""

    loss: float
    counters: dict[str, float]
    means: dict[str, float]


class _Loop:
    """What stays the same from step to step."""

    def __init__(
        self,
        model: nn.Module,
        positives: Positives,
        sampler: NegativeSampler,
        candidates: CandidateSource,
        config: FitConfig,
        *,
        observers: Sequence[Observer],
        watch: Watch | None,
        anchor: Anchor | None,
    ) -> None:
        self.model, self.positives, self.sampler, self.candidates = model, positives, sampler, candidates
        self.config, self.observers, self.watch = config, observers, watch
        self.anchor = anchor if anchor is not None and anchor.weight > 0 else None
        self.device = device_of(model)
        self.modules: dict[str, nn.Module] = {"model": model}
        if isinstance(sampler, nn.Module):
            self.modules["sampler"] = sampler.to(self.device)
        self.parameters = [p for module in self.modules.values() for p in module.parameters()]
        self.adam = torch.optim.Adam(self.parameters, lr=config.learning_rate, fused=self.device.type == "cpu")

    def epoch(self, number: int, best: float) -> _Epoch:
        """One pass over all pairs in a fresh order."""
        order = generator(self.config.seed, "order", number).permutation(len(self.positives))
        size, total = self.config.batch_size, 0.0
        counters, sums, counts = dict[str, float](), dict[str, float](), dict[str, float]()
        steps = math.ceil(len(order) / size)
        for step in range(steps):
            chosen, n_train = self.positives.train_first(order[step * size : (step + 1) * size])
            batch = self._batch(chosen, number, step)
            loss, negatives = self._step(batch, n_train)
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"the loss is {loss} in epoch {number}, step {step}; lower the learning rate"
                )
            total += loss * len(batch.rows)
            _add(counters, negatives.counters)
            _add(sums, {name: amount for name, (amount, _) in negatives.totals.items()})
            _add(counts, {name: count for name, (_, count) in negatives.totals.items()})
            if self.watch is not None:
                self.watch(number, step + 1, steps, total / min((step + 1) * size, len(order)), best)
        means = {name: amount / counts[name] for name, amount in sums.items() if counts[name]}
        return _Epoch(total / len(order), counters, means)

    def save(self, resume: CheckpointFile, progressed: TrainingState, best: dict[str, Tensor]) -> None:
        """Write a checkpoint."""
        save_checkpoint(
            resume,
            progressed,
            modules=self.modules,
            adam=self.adam,
            best=best,
            observers=self.observers,
        )

    def _batch(self, chosen: Indices, epoch: int, step: int) -> Batch:
        users, items = self.positives.users[chosen], self.positives.items[chosen]
        rows_, users_, items_ = (torch.from_numpy(array).to(self.device) for array in (chosen, users, items))
        return Batch(rows_, users_, items_, epoch, step)

    def _step(self, batch: Batch, n_train: int) -> tuple[float, Negatives]:
        candidates = self._candidates(batch)
        stream = Stream(self.config.seed, "sampler", batch.epoch)
        embeddings: Embeddings = self.model(self._wanted(batch, candidates, stream))
        negatives = self.sampler.sample(batch, embeddings, candidates, stream)
        loss = weighted_objective(batch, embeddings, negatives, self.config.l2, n_train, self.positives.weight)
        if self.anchor is not None:
            loss = loss + self.anchor.weight * pull(embeddings.items[0], self.anchor)
        watched = [(o, embeddings if o.reads_tables(batch.step) else None) for o in self.observers]
        del embeddings  # where nobody reads them any more, backward reuses the memory while it is in the cache
        self.adam.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.parameters:
            parameter.grad = None if parameter.grad is None else dense(parameter.grad)
        self.adam.step()
        for observer, shown in watched:
            observer.see(batch, negatives, shown)
        return loss.item(), negatives

    def _candidates(self, batch: Batch) -> Tensor:
        stream = Stream(self.config.seed, "candidates", batch.epoch)
        rows_, users = batch.rows.cpu().numpy(), batch.users.cpu().numpy()
        drawn = self.candidates.draw(rows_, users, n=self.sampler.n_candidates, stream=stream)
        return torch.from_numpy(drawn).to(self.device)

    def _wanted(self, batch: Batch, candidates: Tensor, stream: Stream) -> RequiredRows | None:
        """The rows that this step reads; all of them where an observer reads tables in it."""
        if any(observer.reads_tables(batch.step) for observer in self.observers):
            return None
        train = self.positives.train
        users, items = np.zeros(train.n_users, bool), np.zeros(train.n_items, bool)
        users[batch.users.cpu().numpy()] = True
        items[items_read(self.sampler, batch, candidates, stream).cpu().numpy()] = True
        return RequiredRows(np.flatnonzero(users), np.flatnonzero(items), self.sampler.hops_read)


def _record(progressed: TrainingState, split: str, measured: Mapping[str, float]) -> None:
    for metric, value in measured.items():
        progressed.curves.append({"epoch": progressed.epoch, "split": split, "metric": metric, "value": value})


def _add(counters: dict[str, float], more: Mapping[str, float]) -> None:
    for name, amount in more.items():
        counters[name] = counters.get(name, 0.0) + amount
