"""The fine-tuning loop: a language model learns to emit MixGCF's hard negatives from hybrid prompts (Eq. 12 of HNLMRec)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from hardneg.checkpoint import CheckpointFile, TrainingState, copy_tensors, overwrite_tensors
from hardneg.config import MAX_BATCH, MAX_STEPS, BatchSize, Config, Seed, Steps
from hardneg.data.row_report import RowIssue, RowReport
from hardneg.errors import DataError, TrainingDivergedError
from hardneg.finetuning.inputs import PairInputs, Template, float_tensor, prompt_batch, prompt_lengths
from hardneg.finetuning.model import AnyEncoder, HardNegativeEncoder, enable_gradient_checkpointing, seeded
from hardneg.random import generator
from hardneg.types import Floats, Indices, Progress

MIN_SET_PAIRS = 32
"""Pairs that the smallest set of a pool must have, unless batches are smaller."""


class TuningConfig(Config):
    """Settings of fine-tuning."""

    pairs: PositiveInt = 100_000
    """Maximum number of training pairs, drawn at random; the default is the paper's."""
    epochs: Annotated[int, Field(ge=0, le=MAX_STEPS)] = 1
    """Maximum number of passes over the pairs; 0 leaves the model as initialized (the ablation "untuned")."""
    batch_size: Annotated[int, Field(ge=2, le=MAX_BATCH)] = 256
    """Pairs per batch; each has batch_size - 1 in-batch negatives. Memory does not depend on it."""
    micro_batch: BatchSize = 32
    """Prompts in memory at a time; changes only speed and rounding."""
    accumulate: Steps = 1
    """Batches whose gradients are averaged into one step."""
    learning_rate: PositiveFloat = 2e-4
    """AdamW learning rate of the adapter (or the whole base)."""
    head_learning_rate: PositiveFloat = 1e-3
    """AdamW learning rate of the projection heads, which are randomly initialized."""
    weight_decay: NonNegativeFloat = 0.01
    """AdamW weight decay."""
    clip: PositiveFloat = 1.0
    """Maximum norm of the gradient of a step."""
    temperature: PositiveFloat = 0.05
    """Temperature of Eq. 12; the release's value."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of the *training* pairs held out for early stopping. Validation and test pairs are not used."""
    held_out_most: BatchSize = 2048
    """Maximum number of held-out pairs."""
    look_every: Steps = 50
    """Steps between checks of the held-out loss; it is also checked at the start and the end."""
    patience: Steps = 5
    """Checks without improvement after which tuning stops."""
    checkpoint_every: Steps = 50
    """Steps between checkpoints."""
    bfloat16: bool = False
    """Compute products in bfloat16 on a CPU, as always on a GPU; weights keep 32 bits. Only while tuning."""
    gradient_checkpointing: bool = False
    """Recompute layers in the backward pass: less memory, a third more work."""
    seed: Seed = 0
    """Seed of the choice of pairs, the held-out pairs, the order and dropout."""


@dataclass(frozen=True)
class TunedEncoder:
    """A tuned encoder with the weights of its best check, and its training state.

    held_out: pair indices used for early stopping only, ascending. tuned_on: pair indices that were trained on,
    ascending. row_report: pairs left out.
    """

    encoder: AnyEncoder
    state: TrainingState
    held_out: Indices
    tuned_on: Indices
    row_report: RowReport


def tune(
    encoder: AnyEncoder,
    template: Template,
    inputs: PairInputs,
    labels: Floats,
    config: TuningConfig,
    *,
    sets: Indices | None = None,
    resume: CheckpointFile | None = None,
    progress: Progress | None = None,
) -> TunedEncoder:
    """Minimize Eq. 12 with AdamW until the held-out loss stops falling, then restore the best weights.

    labels: (pairs, size), MixGCF's hard negative of every pair, as long as an item's embedding. Rows that are not finite
    are left out and counted. sets: (pairs,) the data set of every pair in a pool. A batch then holds pairs of one set,
    since negatives of another set are too easy; it is no larger than the smallest set, which needs MIN_SET_PAIRS pairs.
    On one CPU thread, equal seeds give identical bits, also after an interruption and resume.
    Raises DataError and TrainingDivergedError.
    """
    if labels.shape != (len(inputs.pairs), inputs.items.shape[1]):
        raise DataError(
            f"found labels of shape {labels.shape}, expected {(len(inputs.pairs), inputs.items.shape[1])}: a row per "
            "training pair, as long as an item's embedding; make them from this split and model"
        )
    usable = np.isfinite(labels).all(axis=1) & ~inputs.has_empty_prompt(template)
    rows, held_out = split_held_out(np.flatnonzero(usable), config)
    loop = TuningLoop(encoder, template, inputs, labels, config, rows=rows, held_out=held_out, sets=sets)
    loop.run(resume, progress)
    row_report = inputs.row_report(template)
    if len(left_out := np.flatnonzero(~usable)):
        reason, first = "have no finite label or an empty prompt, and are not tuned on", f"pair index {left_out[0]}"
        issue = RowIssue("labels of train pairs", reason, len(left_out), first, "make the labels again")
        row_report = (issue, *row_report)
    return TunedEncoder(encoder.eval(), loop.state, np.sort(held_out), np.sort(rows), row_report)


def split_held_out(usable: Indices, config: TuningConfig) -> tuple[Indices, Indices]:
    """Draw pair indices to tune on and pair indices to hold out from the usable ones."""
    drawn = generator(config.seed, "tuning pairs").permutation(usable)[: config.pairs]
    n = count_held_out(len(drawn), config)
    if len(drawn) < n + 2:
        raise DataError(f"found {len(drawn)} pairs to tune on, expected at least {n + 2}; check the labels")
    return drawn[n:], drawn[:n]


def count_held_out(n_pairs: int, config: TuningConfig) -> int:
    """Return the number of pairs to hold out of `n_pairs` drawn ones."""
    return max(min(math.ceil(config.held_out * n_pairs), config.held_out_most), 2)


class TuningLoop:
    """The parts of tuning that stay the same from step to step, and its state."""

    def __init__(
        self,
        encoder: AnyEncoder,
        template: Template,
        inputs: PairInputs,
        labels: Floats,
        config: TuningConfig,
        *,
        rows: Indices,
        held_out: Indices,
        sets: Indices | None,
    ) -> None:
        self.encoder, self.inputs, self.labels, self.config = encoder, inputs, labels, config
        self.rows_by_set = _split_by_set(rows, sets)
        self.tokens = template.tokenise(inputs.user_profiles, inputs.item_profiles)
        self.parameters = encoder.trained_parameters()
        heads = [value for name, value in self.parameters.items() if not name.startswith("network.")]
        base = [value for name, value in self.parameters.items() if name.startswith("network.")]
        groups = [{"params": heads, "lr": config.head_learning_rate}, {"params": base, "lr": config.learning_rate}]
        self.adam = torch.optim.AdamW([g for g in groups if g["params"]], weight_decay=config.weight_decay)
        if sets is not None:
            _require_large_sets(rows, sets, config)
        size = self.per_batch = min(config.batch_size, *map(len, self.rows_by_set))
        self.batches = sum(len(part) // size for part in self.rows_by_set)
        self.held_out = [
            part[start : start + size] for part in _split_by_set(held_out, sets) for start in range(0, len(part), size)
        ]
        self.steps = max(self.batches * config.epochs // config.accumulate, 1) if config.epochs else 0
        self.state = TrainingState(copy_tensors(self.parameters))
        if config.gradient_checkpointing and isinstance(encoder, HardNegativeEncoder):
            enable_gradient_checkpointing(encoder)

    def run(self, resume: CheckpointFile | None, progress: Progress | None) -> None:
        """Tune from the start or from the checkpoint; leave the encoder with its best weights."""
        config, restored = self.config, resume.load(self.parameters, self.adam) if resume else None
        if restored:
            self.state = restored
        else:
            self.check()
        while self.state.iteration < self.steps and self.state.checks_without_gain < config.patience:
            self.step()
            step = self.state.iteration
            if step % config.look_every == 0 or step == self.steps:
                self.check()
            if resume and (step % config.checkpoint_every == 0 or step == self.steps):
                resume.save(self.state, self.parameters, self.adam)
            if progress is not None:
                progress(f"tuning (held-out loss {-self.state.best_value:.3f})", step, self.steps)
        overwrite_tensors(self.parameters, self.state.best)

    def step(self) -> None:
        """Take one step of the optimizer."""
        config, step = self.config, self.state.iteration
        self.encoder.train()
        self.adam.zero_grad(set_to_none=True)
        numbers = range(step * config.accumulate, (step + 1) * config.accumulate)
        loss = sum(self._backward(number) for number in numbers) / config.accumulate
        if not math.isfinite(loss):
            raise TrainingDivergedError(f"the loss is {loss} in step {step + 1}; lower the learning rates")
        torch.nn.utils.clip_grad_norm_(self.parameters.values(), config.clip)
        self.adam.step()
        self.state.iteration += 1
        self.state.losses.append(loss)

    def _backward(self, number: int) -> float:
        """Add the gradients of a batch; its dropout depends on the seed and the batch number alone."""
        epoch, place = divmod(number, self.batches)
        order = _draw_batches(self.rows_by_set, self.per_batch, generator(self.config.seed, "tuning order", epoch))
        chunks, rows = self._split_by_length(order[place])
        seeds = generator(self.config.seed, "tuning dropout", number).integers(2**62, size=len(chunks))

        def forward(chunk: int) -> Tensor:
            with seeded(int(seeds[chunk]), self.encoder.device):
                return self._encode(chunks[chunk])

        return cached_backward(
            forward, len(chunks), lambda vectors: self._loss(vectors, rows), weight=1 / self.config.accumulate
        )

    def _split_by_length(self, rows: Indices) -> tuple[list[Indices], Indices]:
        """Sort pair indices by prompt length; return them in micro-batches and as a whole."""
        rows = rows[np.argsort(prompt_lengths(self.inputs, self.tokens, rows), kind="stable")]
        size = self.config.micro_batch
        return [rows[start : start + size] for start in range(0, len(rows), size)], rows

    def _encode(self, rows: Indices) -> Tensor:
        batch, kind = prompt_batch(self.inputs, self.tokens, rows, self.encoder.device), self.encoder.device.type
        with torch.autocast(kind, torch.bfloat16, enabled=self.config.bfloat16 or kind == "cuda"):
            vectors: Tensor = self.encoder(batch)
        return vectors

    def _loss(self, vectors: Tensor, rows: Indices) -> Tensor:
        head, device = self.encoder.label_head, self.encoder.device
        labels = head(float_tensor(self.labels[rows], device))
        positives = head(float_tensor(self.inputs.items[self.inputs.pairs.items[rows]], device))
        return info_nce(vectors, labels, positives, temperature=self.config.temperature)

    @torch.no_grad()
    def check(self) -> None:
        """Record the loss of the held-out pairs, in batches of the training size; copy the weights if it is the lowest."""
        self.encoder.eval()
        total, bound, n = 0.0, 0.0, sum(map(len, self.held_out))
        for batch in self.held_out:
            chunks, rows = self._split_by_length(batch)
            loss = float(self._loss(torch.cat([self._encode(chunk) for chunk in chunks]), rows))
            total += loss * len(rows)
            bound += information(loss, len(rows)) * len(rows)
        state, loss = self.state, total / n
        train_loss = float(np.mean(state.losses)) if state.losses else math.nan
        row = {"step": state.iteration, "loss": train_loss, "held_out_loss": loss, "information": bound / n}
        state.curves.append(row)
        state.losses = []
        state.record_check(-loss, self.parameters)


def _require_large_sets(rows: Indices, sets: Indices, config: TuningConfig) -> None:
    """Raise DataError if a set is so small that the batches of all sets would become too small."""
    minimum = min(config.batch_size, MIN_SET_PAIRS)
    for number, n in enumerate(np.bincount(sets[rows], minlength=int(sets.max()) + 1), 1):
        if n < minimum:
            raise DataError(
                f"set {number} of the pool has {n} pairs to tune on, expected at least {minimum}, since no batch is "
                "larger than the smallest set; leave that set out, or use more pairs"
            )


def _split_by_set(rows: Indices, sets: Indices | None) -> list[Indices]:
    return [rows] if sets is None else [rows[sets[rows] == number] for number in np.unique(sets[rows])]


def _draw_batches(rows_by_set: list[Indices], size: int, rng: np.random.Generator) -> Indices:
    """Return (batches, size) pair indices of an epoch; incomplete batches are dropped, since they have fewer negatives."""
    permuted = [rng.permutation(part) for part in rows_by_set]
    batches = [part[: len(part) // size * size].reshape(-1, size) for part in permuted]
    return batches[0] if len(batches) == 1 else rng.permutation(np.concatenate(batches))


def info_nce(queries: Tensor, labels: Tensor, positives: Tensor, *, temperature: float) -> Tensor:
    """Return the mean over rows i of -log exp(s(q_i, l_i)) / (sum over j of exp(s(q_i, l_j)) + exp(s(q_i, p_i))).

    s: cosine / temperature. queries: (batch, size), outputs of the model. labels: (batch, size), MixGCF's hard
    negatives, each the positive of its own row and a negative of the others. positives: (batch, size), vectors of the
    positive items, each a negative of its own row. Source: Eq. 12 of HNLMRec, which leaves N- open; the positive item is
    what its README calls "Neg".
    """
    queries, labels, positives = (F.normalize(vectors, dim=1) for vectors in (queries, labels, positives))
    own = (queries * positives).sum(dim=1, keepdim=True)
    scores = torch.cat([queries @ labels.T, own], dim=1) / temperature
    return F.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


def information(loss: float, n_labels: int) -> float:
    """Return log(N + 1) - loss in nats, a lower bound of the mutual information with the labels (van den Oord 2018).

    n_labels: N + 1, the number of labels that a row is compared with, its own included. The positive item is not a drawn
    label and is not counted; it increases the loss, so the bound holds.
    """
    return math.log(n_labels) - loss


def cached_backward(
    forward: Callable[[int], Tensor], n_chunks: int, loss_of: Callable[[Tensor], Tensor], *, weight: float = 1.0
) -> float:
    """Add a batch's gradients to the parameters with the graph of one chunk in memory at a time; return the loss.

    forward: computes the vectors of chunk 0..n_chunks - 1, equal in every call (dropout is replayed). loss_of: the loss
    of all vectors in chunk order; its own parameters get gradients too. First all vectors are computed without a graph,
    then the gradients of the loss with respect to them, then each chunk again to propagate its part. The gradients equal
    those of the plain batch. Source: GradCache (Gao et al., 2021).
    """
    if n_chunks == 1:  # a second pass would save nothing
        loss = loss_of(forward(0))
        (loss * weight).backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())
    with torch.no_grad():
        chunks: Sequence[Tensor] = [forward(chunk) for chunk in range(n_chunks)]
    vectors = torch.cat(list(chunks)).requires_grad_()
    loss = loss_of(vectors)
    (loss * weight).backward()  # type: ignore[no-untyped-call]
    assert vectors.grad is not None
    for chunk, gradient in enumerate(torch.split(vectors.grad, [len(part) for part in chunks])):
        forward(chunk).backward(gradient)  # type: ignore[no-untyped-call]
    return float(loss.detach())
