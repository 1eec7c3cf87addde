"""The tuning loop: a language model learns to write MixGCF's hard negatives from hybrid prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor

from hardneg.checkpoint import CheckpointFile
from hardneg.config import Config
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError, HardnegError
from hardneg.finetuning.checkpoint import TuningState, copy_tensors, load_tuning, put, save_tuning
from hardneg.finetuning.contrastive import cached_backward, info_nce, information
from hardneg.finetuning.inputs import PairInputs, batch_of, lengths_of, tensor
from hardneg.finetuning.model import HardNegativeEncoder, checkpoint_layers, seeded
from hardneg.finetuning.perceptron import AnyEncoder
from hardneg.finetuning.template import Template
from hardneg.random import generator
from hardneg.types import Flags, Floats, Indices, Progress

LEAST = 32
"""Pairs of the smallest set of a pool, where batches are not smaller still."""


class TuningConfig(Config):
    """How the model is tuned."""

    pairs: PositiveInt = 100_000
    """At most so many train pairs are used, drawn by the seed; the paper's number."""
    epochs: NonNegativeInt = 1
    """At most so many passes over them; 0 leaves model and lifts as they start (the ablation "untuned")."""
    batch_size: Annotated[int, Field(ge=2)] = 256
    """Pairs that are compared with one another: in-batch negatives are one fewer. Memory does not depend on it."""
    micro_batch: PositiveInt = 32
    """Prompts that are in memory at once; changes speed and rounding alone."""
    accumulate: PositiveInt = 1
    """Batches whose gradients are averaged into one step."""
    learning_rate: PositiveFloat = 2e-4
    """Of AdamW, for the adapter (or the whole base)."""
    lift_learning_rate: PositiveFloat = 1e-3
    """For the lifts, which start from nothing."""
    weight_decay: NonNegativeFloat = 0.01
    clip: PositiveFloat = 1.0
    """Longest gradient of a step."""
    temperature: PositiveFloat = 0.05
    """Of Eq. 12; the release's value."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the used *train* pairs that decides when to stop. Valid and test pairs decide nothing here."""
    held_out_most: PositiveInt = 2048
    look_every: PositiveInt = 50
    """Steps between looks at the held-out pairs; tuning starts and ends with one."""
    patience: PositiveInt = 5
    """Looks without gain after which tuning ends."""
    checkpoint_every: PositiveInt = 50
    """Steps between checkpoints, where there is a place for them."""
    bfloat16: bool = False
    """Products in 16 bits on a CPU as well, as on a GPU always; the weights keep 32. Only while tuning."""
    gradient_checkpointing: bool = False
    """Compute layers again in the backward pass instead of holding them: less memory, a third more work."""
    seed: int = 0
    """Decides which pairs are used and held out, their order, and dropout."""


@dataclass(frozen=True)
class TunedEncoder:
    """A tuned writer, put back to its best look, and how it got there.

    held_out: pair rows that were never tuned on, ascending, for whoever judges the vectors. tuned_on: those that were,
    ascending; further ones are neither. ledger: rows left out.
    """

    writer: AnyEncoder
    progressed: TuningState
    held_out: Indices
    tuned_on: Indices
    row_report: RowReport


class TuningDivergedError(HardnegError, ArithmeticError):
    """The loss is no finite number."""


def tune(
    writer: AnyEncoder,
    template: Template,
    inputs: PairInputs,
    labels: Floats,
    config: TuningConfig,
    *,
    sets: Indices | None = None,
    resume: CheckpointFile | None = None,
    progress: Progress | None = None,
) -> TunedEncoder:
    """Minimise Eq. 12 with AdamW until the held-out loss stops falling, and put the best look's weights back.

    labels: (pairs, size), MixGCF's hard negative of every pair row, of the size of an item's embedding; rows that are
    not finite are left out and counted. sets: (pairs,) the set of each pair row of a pool; a batch then holds pairs of
    one set, since to tell labels of different sets apart teaches nothing, and is no larger than the smallest set, which
    must have LEAST pairs. The same seed gives the same result to the last bit on one CPU thread, also
    when killed and resumed. Raises DataError and TuningDivergedError.
    """
    if labels.shape != (len(inputs.pairs), inputs.items.shape[1]):
        raise DataError(
            f"found labels of shape {labels.shape}, expected {(len(inputs.pairs), inputs.items.shape[1])}: a row for every "
            "train pair, as long as an item's embedding; make them from this split and model"
        )
    usable = np.isfinite(labels).all(axis=1) & ~inputs.silent(template)
    rows, held = split_held_out(np.flatnonzero(usable), config)
    loop = _Loop(writer, template, inputs, labels, config, rows=rows, held=held, sets=sets)
    loop.run(resume, progress)
    return TunedEncoder(
        writer.eval(), loop.progressed, np.sort(held), np.sort(rows), (*_left_out(usable), *inputs.row_report(template))
    )


def split_held_out(usable: Indices, config: TuningConfig) -> tuple[Indices, Indices]:
    """Pair rows to tune on, and pair rows to look at, of those that have a label and say something; by the seed alone."""
    drawn = generator(config.seed, "tuning pairs").permutation(usable)[: config.pairs]
    n = max(min(math.ceil(config.held_out * len(drawn)), config.held_out_most), 2)
    if len(drawn) < n + 2:
        raise DataError(f"{len(drawn)} pairs can be tuned on, expected at least {n + 2}; check the labels")
    return drawn[n:], drawn[:n]


class _Loop:
    """What stays the same from step to step, and what changes (`progressed`)."""

    def __init__(
        self,
        writer: AnyEncoder,
        template: Template,
        inputs: PairInputs,
        labels: Floats,
        config: TuningConfig,
        *,
        rows: Indices,
        held: Indices,
        sets: Indices | None,
    ) -> None:
        self.writer, self.inputs, self.labels, self.config = writer, inputs, labels, config
        self.parts = _by_set(rows, sets)
        self.tokens = template.tokenised(inputs.user_profiles, inputs.item_profiles)
        self.trained = writer.trained()
        lifts = [value for name, value in self.trained.items() if not name.startswith("network.")]
        base = [value for name, value in self.trained.items() if name.startswith("network.")]
        groups = [{"params": lifts, "lr": config.lift_learning_rate}, {"params": base, "lr": config.learning_rate}]
        self.adam = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=config.weight_decay)
        if sets is not None:
            _require_enough(rows, sets, config)
        self.per_batch = min(config.batch_size, *map(len, self.parts))
        self.batches = sum(len(part) // self.per_batch for part in self.parts)
        looked_at = _by_set(held, sets)
        self.looks = [
            part[at : at + self.per_batch] for part in looked_at for at in range(0, len(part), self.per_batch)
        ]
        self.steps = max(self.batches * config.epochs // config.accumulate, 1) if config.epochs else 0
        self.progressed, self.best = TuningState(), copy_tensors(self.trained)
        if config.gradient_checkpointing and isinstance(writer, HardNegativeEncoder):
            checkpoint_layers(writer)

    def run(self, resume: CheckpointFile | None, progress: Progress | None) -> None:
        """From the first look, or from the checkpoint, to the best weights."""
        found = load_tuning(resume, self.trained, self.adam) if resume else None
        if found:
            self.progressed, self.best = found
        else:
            self._look()
        while self.progressed.step < self.steps and self.progressed.looks_without_gain < self.config.patience:
            self._step()
            step = self.progressed.step
            if step % self.config.look_every == 0 or step == self.steps:
                self._look()
            if resume and (step % self.config.checkpoint_every == 0 or step == self.steps):
                save_tuning(resume, self.progressed, self.trained, self.adam, self.best)
            if progress is not None:
                progress(f"tuning (held-out loss {self.progressed.best_loss:.3f})", step, self.steps)
        put(self.trained, self.best)

    def _step(self) -> None:
        """One step of AdamW over `accumulate` batches."""
        config, step = self.config, self.progressed.step
        self.writer.train()
        self.adam.zero_grad(set_to_none=True)
        numbers = range(step * config.accumulate, (step + 1) * config.accumulate)
        loss = sum(self._backward(number) for number in numbers) / config.accumulate
        if not math.isfinite(loss):
            raise TuningDivergedError(f"the loss is {loss} in step {step + 1}; lower the learning rates")
        torch.nn.utils.clip_grad_norm_(self.trained.values(), config.clip)
        self.adam.step()
        self.progressed.step += 1
        self.progressed.losses.append(loss)

    def _backward(self, number: int) -> float:
        """Add a batch's gradients; its dropout is a function of the seed and the batch's number."""
        epoch, place = divmod(number, self.batches)
        order = _batches(self.parts, self.per_batch, generator(self.config.seed, "tuning order", epoch))
        chunks, rows = self._chunks(order[place])
        seeds = generator(self.config.seed, "tuning dropout", number).integers(2**62, size=len(chunks))

        def forward(chunk: int) -> Tensor:
            with seeded(int(seeds[chunk]), self.writer.device):
                return self._vectors(chunks[chunk])

        return cached_backward(
            forward, len(chunks), lambda found: self._loss(found, rows), weight=1 / self.config.accumulate
        )

    def _chunks(self, rows: Indices) -> tuple[list[Indices], Indices]:
        """Pair rows by the length of their prompts, in micro-batches and whole."""
        rows = rows[np.argsort(lengths_of(self.inputs, self.tokens, rows), kind="stable")]
        size = self.config.micro_batch
        return [rows[start : start + size] for start in range(0, len(rows), size)], rows

    def _vectors(self, rows: Indices) -> Tensor:
        batch, kind = batch_of(self.inputs, self.tokens, rows, self.writer.device), self.writer.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.config.bfloat16 or kind == "cuda"):
            found: Tensor = self.writer(batch)
        return found

    def _loss(self, vectors: Tensor, rows: Indices) -> Tensor:
        lift, device = self.writer.label_lift, self.writer.device
        labels = lift(tensor(self.labels[rows], device))
        positives = lift(tensor(self.inputs.items[self.inputs.pairs.items[rows]], device))
        return info_nce(vectors, labels, positives, temperature=self.config.temperature)

    @torch.no_grad()
    def _look(self) -> None:
        """Measure on the held-out pairs, in batches as large as those of tuning, and keep the best weights."""
        self.writer.eval()
        total, bound, n = 0.0, 0.0, sum(map(len, self.looks))
        for batch in self.looks:
            chunks, rows = self._chunks(batch)
            loss = float(self._loss(torch.cat([self._vectors(chunk) for chunk in chunks]), rows))
            total += loss * len(rows)
            bound += information(loss, len(rows)) * len(rows)
        progressed, loss = self.progressed, total / n
        before = float(np.mean(progressed.losses)) if progressed.losses else math.nan
        progressed.curves.append(
            {"step": progressed.step, "loss": before, "held_out_loss": loss, "information": bound / n}
        )
        progressed.losses = []
        progressed.looks_without_gain += 1
        if loss < progressed.best_loss:
            progressed.best_loss, progressed.best_step, progressed.looks_without_gain = loss, progressed.step, 0
            self.best = copy_tensors(self.trained)


def _require_enough(rows: Indices, sets: Indices, config: TuningConfig) -> None:
    """No set is so small that the batches of all others shrink to next to nothing."""
    least = min(config.batch_size, LEAST)
    for number, n in enumerate(np.bincount(sets[rows], minlength=int(sets.max()) + 1), 1):
        if n < least:
            raise DataError(
                f"set {number} of the pool has {n} pairs to tune on, expected at least {least}, since no batch is larger "
                "than the smallest set; leave that set out, or take more pairs"
            )


def _by_set(rows: Indices, sets: Indices | None) -> list[Indices]:
    """Pair rows in their order, a part for each set that has any."""
    return [rows] if sets is None else [rows[sets[rows] == one] for one in np.unique(sets[rows])]


def _batches(parts: list[Indices], size: int, rng: np.random.Generator) -> Indices:
    """(batches, size) pair rows of an epoch. An unfinished last batch of a set would have fewer negatives: left out."""
    mixed = [rng.permutation(part) for part in parts]
    whole = [part[: len(part) // size * size].reshape(-1, size) for part in mixed]
    return whole[0] if len(whole) == 1 else rng.permutation(np.concatenate(whole))


def _left_out(usable: Flags) -> RowReport:
    rows = np.flatnonzero(~usable)
    if not len(rows):
        return ()
    reason = "have no finite label or say nothing, and are not tuned on"
    return (RowIssue("labels of train pairs", reason, len(rows), f"pair row {rows[0]}", "make the labels again"),)
