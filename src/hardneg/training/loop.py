"""The training loop, for any backbone with any sampler."""

from __future__ import annotations

import ctypes
import functools
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, cast

import numpy as np
import torch
from pydantic import NonNegativeFloat, PositiveFloat
from torch import Tensor, nn

from hardneg.checkpoint import CheckpointFile, TrainingState, copy_tensors
from hardneg.config import BatchSize, Config, MetricName, Seed, Steps
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError, TrainingDivergedError
from hardneg.models import Anchor, Backbone, compute_training_pass
from hardneg.models.anchor import anchor_loss
from hardneg.models.propagation import to_dense
from hardneg.random import Stream, generator
from hardneg.sampling import CandidateSource, NegativeSampler, SourceConfig, UniformSource
from hardneg.sampling.sampler import ReadsBatch, ReportsProbabilities, find_epoch_reader, items_read, keeps_candidates
from hardneg.training.adam import Adam
from hardneg.training.losses import LossConfig
from hardneg.training.objective import DEFAULT_LOSS, Positives, objective
from hardneg.training.order import PairOrder, draw_order
from hardneg.training.sgd import descend_batch, require_trained_tables
from hardneg.training.steps import StepSize, limit_steps
from hardneg.training.triplets import BatchTriplets
from hardneg.types import Batch, Embeddings, Items, Negatives, Observer, RequiredRows, TrainingPass


class FitConfig(Config):
    """Settings of the training loop, the same for every backbone and sampler."""

    epochs: Steps = 300
    """Maximum number of passes over the training pairs."""
    batch_size: BatchSize = 2048
    """Training pairs per step; max_steps may raise it for large data."""
    learning_rate: PositiveFloat = 3e-3
    """Learning rate of the optimizer; sgd needs a larger one than adam, 0.05 to 0.2."""
    l2: NonNegativeFloat = 1e-4
    """Weight of half the squared norm of the hop-0 rows of a pair."""
    check_every: Steps = 5
    """Epochs between validation checks."""
    patience: Steps = 5
    """Validation checks without improvement after which training stops."""
    select: MetricName = "recall@20"
    """Validation metric that selects the best epoch."""
    seed: Seed = 0
    """Seed of the initialization, the order of the pairs, the candidates and the sampler."""
    loss: LossConfig = DEFAULT_LOSS
    """Ranking loss and its options; `hardneg options loss` lists them."""
    candidates: SourceConfig = UniformSource()
    """Source of the candidates of every sampler; `hardneg options candidates` lists them."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """adam changes all tables once for each batch; sgd changes the rows of one pair after the other, for mf with the loss bpr."""
    order: PairOrder = "each-pair"
    """each-pair trains on every pair once an epoch; by-user draws a user, then one of its pairs, as often as there are pairs."""
    max_steps: Steps | None = None
    """Maximum number of steps per epoch: larger data gets larger batches and a larger learning rate (`training.steps`); null keeps batch_size. NGCF, models with a loss of their own, sgd and direct-au keep it as well."""
    later_fields: ClassVar[frozenset[str]] = frozenset({"loss", "candidates", "optimizer", "order", "max_steps"})

    def step_size(self, n_pairs: int, model: nn.Module, numbers: int) -> StepSize:
        """Return the batch size and the learning rate for this many train pairs; see `training.steps`.

        numbers: of a pair, in the rows of its candidates.
        """
        usual = StepSize(self.batch_size, self.learning_rate)
        keeps = self.optimizer == "sgd" or self.loss.compares_pairs or hasattr(model, "training_pass")
        return usual if keeps else limit_steps(n_pairs, usual, self.max_steps, numbers)


Validate = Callable[[Embeddings], Mapping[str, float]]
"""Return metric name -> value on the validation pairs. The loop has no other access to held-out pairs."""


Watch = Callable[[int, int, int, float, float], None]
"""Called after every step, for a progress line: epoch (from 1), step (from 1), steps per epoch, mean loss of the epoch
so far, best validation value so far (-inf before the first check)."""


@dataclass(frozen=True)
class Fitted:
    """A trained model with the tensors of its best epoch, and its training state.

    reached_limit: True where the maximum number of epochs ended training, not patience. step_size: batch size and learning
    rate that were used.
    """

    model: nn.Module
    state: TrainingState
    reached_limit: bool
    step_size: StepSize

    @property
    def embeddings(self) -> Embeddings:
        """Hop tables of the best epoch, without gradients."""
        with torch.no_grad():
            embeddings: Embeddings = self.model()
        return embeddings


def fit_model(
    model: nn.Module,
    train: Interactions | Positives,
    sampler: NegativeSampler,
    candidates: CandidateSource,
    config: FitConfig,
    *,
    validate: Validate | None,
    observers: Sequence[Observer] = (),
    resume: CheckpointFile | None = None,
    watch: Watch | None = None,
    anchor: Anchor | None = None,
) -> Fitted:
    """Train until the validation metric stops rising, then restore the tensors of the best epoch.

    train: training pairs, with or without extra positives. validate: None trains all epochs and keeps the last. anchor:
    target positions of the hop-0 item rows; the caller initializes the model. On one CPU thread, equal seeds give identical bits, also after an interruption and resume.
    """
    keep_freed_memory()
    positives = train if isinstance(train, Positives) else Positives(train)
    loop = _Loop(model, positives, sampler, candidates, config, observers, watch, anchor)
    saved = None if resume is None else resume.load(loop.tensors, loop.adam, observers)
    state = saved or TrainingState(copy_tensors(model.state_dict()))

    def check() -> None:
        if validate is None:
            state.best, state.best_iteration = copy_tensors(model.state_dict()), state.iteration
            return
        with torch.no_grad():
            metrics = validate(model())
        if config.select not in metrics:
            raise ConfigError(
                f"select is {config.select}, but validation measures {', '.join(metrics)}; choose one of these"
            )
        _record(state, "valid", metrics)
        state.record_check(metrics[config.select], model.state_dict())

    while state.iteration < config.epochs and state.checks_without_gain < config.patience:
        started = time.perf_counter()
        loop.run_epoch(state)
        checked = state.iteration % config.check_every == 0
        if checked:
            check()
        state.seconds += time.perf_counter() - started
        if resume is not None and (checked or state.iteration == config.epochs):
            resume.save(state, loop.tensors, loop.adam, observers)
    reached_limit = state.checks_without_gain < config.patience
    if state.iteration % config.check_every:  # a longer run makes no check here, so the checkpoint is without it
        check()
    model.load_state_dict(state.best)
    return Fitted(model, state, reached_limit, loop.step_size)


@dataclass
class _Loop:
    """The parts of training that stay the same from step to step."""

    model: nn.Module
    positives: Positives
    sampler: NegativeSampler
    candidates: CandidateSource
    config: FitConfig
    observers: Sequence[Observer]
    watch: Watch | None
    anchor: Anchor | None

    def __post_init__(self) -> None:
        self.device = next(self.model.parameters()).device
        modules = nn.ModuleDict({"model": self.model})
        if isinstance(self.sampler, nn.Module):
            modules["sampler"] = self.sampler.to(self.device)
        self.tensors = modules.state_dict()
        self.parameters = list(modules.parameters())
        if self.config.optimizer == "sgd":
            require_trained_tables(self.model, self.config.loss, self.positives, self.anchor)
        self.of_batch = self.candidates if isinstance(self.candidates, ReadsBatch) else None
        self.n_candidates = self.sampler.n_candidates if self.config.loss.reads_negatives else 0
        numbers = max(1, self.n_candidates) * cast(Backbone, self.model).final_size
        self.step_size = self.config.step_size(len(self.positives.train), self.model, numbers)
        self.adam = Adam(self.parameters, self.step_size.learning_rate)

    def run_epoch(self, state: TrainingState) -> None:
        """Train on as many pairs as there are, in a fresh order."""
        epoch = state.iteration + 1
        if (reader := find_epoch_reader(self.sampler)) is not None:
            with torch.no_grad():
                reader.begin_epoch(epoch, self.model())
        order = draw_order(self.positives, self.config.order, generator(self.config.seed, "order", epoch))
        size, total = self.step_size.batch_size, 0.0
        counters, sums, counts = dict[str, float](), dict[str, float](), dict[str, float]()
        steps = math.ceil(len(order) / size)
        for step in range(steps):
            rows, n_train = self.positives.train_first(order[step * size : (step + 1) * size])
            arrays = rows, self.positives.users[rows], self.positives.items[rows]
            indices, users, items = (torch.from_numpy(array).to(self.device) for array in arrays)
            batch = Batch(indices, users, items, epoch, step)
            loss, negatives = self._step(batch, n_train)
            if not math.isfinite(loss):
                raise TrainingDivergedError(
                    f"the loss is {loss} in epoch {epoch}, step {step}; lower the learning rate"
                )
            total += loss * len(batch.rows)
            _add(counters, negatives.counters)
            _add(sums, {name: amount for name, (amount, _) in negatives.totals.items()})
            _add(counts, {name: count for name, (_, count) in negatives.totals.items()})
            if self.watch is not None:
                self.watch(epoch, step + 1, steps, total / min((step + 1) * size, len(order)), state.best_value)
        state.iteration = epoch
        _add(state.counters, counters)
        _record(state, "train", {"loss": total / len(order)})
        _record(state, "negatives", {name: amount / counts[name] for name, amount in sums.items() if counts[name]})

    def _step(self, batch: Batch, n_train: int) -> tuple[float, Negatives]:
        rows, users = batch.rows.cpu().numpy(), batch.users.cpu().numpy()
        stream = Stream(self.config.seed, "candidates", batch.epoch)
        source = self.candidates if self.of_batch is None else self.of_batch.of_batch(rows)
        drawn = source.draw(rows, users, n=self.n_candidates, stream=stream)
        candidates = torch.from_numpy(drawn).to(self.device)
        stream = Stream(self.config.seed, "sampler", batch.epoch)
        judged = self.positives.triplets
        triplets = None if judged is None else judged.of_batch(batch, self.config.seed)
        required = self._required_rows(batch, candidates, stream, triplets)
        computed = compute_training_pass(self.model, batch, required)
        negatives = self._sample(batch, computed.embeddings, candidates, stream)
        if counters := getattr(source, "counters", None):
            negatives = replace(negatives, counters=negatives.counters | counters)
        shown = [(o, computed.embeddings if o.reads_tables(batch.step) else None) for o in self.observers]
        if self.config.optimizer == "sgd":
            value = descend_batch(computed.embeddings, batch, negatives, self.config.learning_rate, self.config.l2)
        else:
            loss = self._loss(batch, computed, negatives, n_train, triplets)
            del computed  # unless observed, backward reuses the memory of its tables while it is cached
            self._step_of_adam(loss)
            value = loss.item()
        for observer, tables in shown:
            observer.see(batch, negatives, tables)
        return value, negatives

    def _loss(
        self, batch: Batch, computed: TrainingPass, negatives: Negatives, n_train: int, triplets: BatchTriplets | None
    ) -> Tensor:
        """Return the objective and the further losses of the backbone, of triplets and of the anchor."""
        scored, l2_weight = computed.scored or computed.embeddings, self.config.l2
        extra_weight, ranking, judged = self.positives.weight, self.config.loss, self.positives.triplets
        loss = objective(
            batch, scored, negatives, l2_weight, n_train=n_train, extra_weight=extra_weight, ranking=ranking
        )
        loss = loss if computed.auxiliary is None else loss + computed.auxiliary
        loss = loss if computed.auxiliary_of is None else loss + computed.auxiliary_of(negatives)
        if judged is not None and triplets is not None:
            loss = loss + judged.loss(triplets, scored, len(batch.rows))
        if self.anchor is not None and self.anchor.weight > 0:
            loss = loss + self.anchor.weight * anchor_loss(computed.embeddings.items[0], self.anchor)
        return loss

    def _step_of_adam(self, loss: Tensor) -> None:
        self.adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        for parameter in self.parameters:
            parameter.grad = None if parameter.grad is None else to_dense(parameter.grad)
        self.adam.step()

    def _sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return the negatives of a step, with the probabilities of their draw where the loss reads them."""
        if not self.config.loss.reads_negatives:
            return Items(candidates)
        negatives = self.sampler.sample(batch, embeddings, candidates, stream)
        if not (self.config.loss.corrects_bias and isinstance(negatives, Items) and keeps_candidates(self.sampler)):
            return negatives
        if not isinstance(self.candidates, ReportsProbabilities):
            return negatives
        users, items = batch.users.cpu().numpy(), negatives.items.cpu().numpy()
        log_q = torch.from_numpy(self.candidates.log_probabilities(users, items).copy())
        return replace(negatives, log_q=log_q.to(candidates.device))

    def _required_rows(
        self, batch: Batch, candidates: Tensor, stream: Stream, triplets: BatchTriplets | None
    ) -> RequiredRows | None:
        """Return the rows that this step reads; None (all rows) if an observer reads tables, or none is computed."""
        if self.config.optimizer == "sgd" or any(observer.reads_tables(batch.step) for observer in self.observers):
            return None
        train = self.positives.train
        users, items = np.zeros(train.n_users, bool), np.zeros(train.n_items, bool)
        users[batch.users.cpu().numpy()] = True
        items[items_read(self.sampler, batch, candidates, stream).cpu().numpy()] = True
        if triplets is not None:
            for rows in (triplets.liked, triplets.disliked):
                items[rows.cpu().numpy()] = True
        return RequiredRows(np.flatnonzero(users), np.flatnonzero(items), self.sampler.hops_read)


def _record(state: TrainingState, split: str, metrics: Mapping[str, float]) -> None:
    for metric, value in metrics.items():
        state.curves.append({"epoch": state.iteration, "split": split, "metric": metric, "value": value})


def _add(counters: dict[str, float], more: Mapping[str, float]) -> None:
    for name, amount in more.items():
        counters[name] = counters.get(name, 0.0) + amount


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Parameters of glibc's mallopt."""
LARGE_THRESHOLD = 2**30
PORTABLE_THRESHOLD = 2**25
"""Largest MMAP_THRESHOLD that older versions of glibc accept."""


@functools.cache
def keep_freed_memory() -> bool:
    """Tell the C library to keep freed blocks below 1 GiB; return True if it accepts (glibc only).

    A step allocates and frees tens of megabytes of tables. Page faults on memory that was returned to the system took
    40 % of the time of a LightGCN step and half of an MF step. Results do not depend on this setting.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    accepted = mallopt(MMAP_THRESHOLD, LARGE_THRESHOLD) or mallopt(MMAP_THRESHOLD, PORTABLE_THRESHOLD)
    return bool(accepted and mallopt(TRIM_THRESHOLD, LARGE_THRESHOLD))
