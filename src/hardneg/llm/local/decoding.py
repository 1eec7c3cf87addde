"""Batched decoding of a causal language model: greedy or sampled, with or without a constraint on each answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hardneg.types import Flags

if TYPE_CHECKING:
    from torch import Generator, Tensor

TRIES = 16
"""Number of most likely tokens tried for one after which the answer can be finished, before the answer is closed."""


class Constraint(Protocol):
    """Restricts one answer; follows its tokens as they are chosen."""

    def allow(self, tokens: Flags, left: int, /) -> None:
        """Set the allowed next tokens in `tokens` (vocabulary,), all False before; `left` tokens may still follow."""

    def fits(self, token: int, left: int, /) -> bool:
        """Return whether the answer can still be finished after this token."""

    def closing(self) -> int:
        """Return the next token on a shortest path to the end."""

    def take(self, token: int, /) -> None:
        """Follow a chosen token."""


@dataclass(frozen=True)
class DecodingJob:
    """One answer to decode: prompt ids, maximum tokens (end token included), temperature, seed and constraint."""

    ids: Sequence[int]
    limit: int
    temperature: float = 0.0
    seed: int = 0
    constraint: Constraint | None = None


@dataclass(frozen=True)
class DecodedText:
    """Tokens of an answer without the end token; ended: the end token came within the limit."""

    ids: list[int]
    ended: bool


def decode(model: Any, jobs: Sequence[DecodingJob], *, ends: Sequence[int], pad: int) -> list[DecodedText]:
    """Decode a batch of answers; prompts are padded on the left.

    ends: tokens that end an answer; constraints use ends[0]. Sampling takes the largest of score / temperature + Gumbel
    noise. Each job draws its noise from its own seed, so an answer does not depend on its batch, up to rounding: in 16
    bits the last digits of scores do.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    ids, mask = padded_left([job.ids for job in jobs], pad, model.device)
    limits = torch.tensor([job.limit for job in jobs], device=model.device)
    width = ids.shape[1]

    def reached_limit(ids: Tensor, *_: object, **__: object) -> Tensor:
        return ids.shape[1] - width >= limits

    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=int(limits.max()), do_sample=False, eos_token_id=list(ends), pad_token_id=pad, num_beams=1
    )
    with torch.no_grad():
        output = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([_TokenChooser(jobs, ends[0], model.device)]),
            stopping_criteria=StoppingCriteriaList([reached_limit]),
        )
    return [_cut(row[: job.limit], ends) for row, job in zip(output[:, width:].tolist(), jobs, strict=True)]


def padded_left(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Return ids (rows, longest row) padded on the left and the mask, 1 where a token is not padding."""
    import torch

    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for index, row in enumerate(rows):
        ids[index, ids.shape[1] - len(row) :] = torch.tensor(row)
        mask[index, ids.shape[1] - len(row) :] = 1
    return ids.to(device), mask.to(device)


def _cut(row: list[int], ends: Sequence[int]) -> DecodedText:
    """Cut a row of tokens before its first end token."""
    length = next((index for index, token in enumerate(row) if token in ends), len(row))
    return DecodedText(row[:length], ended=length < len(row))


class _TokenChooser:
    """Changes the scores of a step so that their largest is the chosen token, a LogitsProcessor."""

    def __init__(self, jobs: Sequence[DecodingJob], end: int, device: Any) -> None:
        self._jobs, self._end, self._step = jobs, end, 0
        self._generators = [_generator(job, device) for job in jobs]
        self._active = {index: job.constraint for index, job in enumerate(jobs) if job.constraint is not None}

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        import torch

        for index, generator in enumerate(self._generators):
            if generator is not None:
                waits = torch.empty_like(scores[index]).exponential_(generator=generator)
                scores[index] = scores[index] / self._jobs[index].temperature - waits.log()
        if self._active:
            self._constrain(scores)
        self._step += 1
        return scores

    def _constrain(self, scores: Tensor) -> None:
        """Exclude the tokens that constraints do not allow; each constraint then follows the chosen token."""
        import torch

        rows = list(self._active)
        allowed = np.zeros((len(rows), scores.shape[1]), np.bool_)
        for flags, (index, constraint) in zip(allowed, self._active.items(), strict=True):
            constraint.allow(flags, self._left(index))
        masked = scores[rows].masked_fill_(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        scores[rows] = masked
        for index, token in zip(rows, masked.argmax(1).tolist(), strict=True):
            chosen = self._choose(scores[index], self._active[index], token, self._left(index))
            if chosen != self._end:
                self._active[index].take(chosen)
            if chosen == self._end or self._left(index) <= 1:  # the answer is complete
                del self._active[index]

    def _choose(self, scores: Tensor, constraint: Constraint, token: int, left: int) -> int:
        """Return the most likely of the first tokens after which the answer can end in time, otherwise one that closes."""
        import torch

        for _ in range(TRIES):
            if constraint.fits(token, left):
                return token
            scores[token] = -torch.inf
            token = int(scores.argmax())
        token = constraint.closing()
        scores.fill_(-torch.inf)
        scores[token] = 0.0
        return token

    def _left(self, index: int) -> int:
        return self._jobs[index].limit - self._step


def _generator(job: DecodingJob, device: Any) -> Generator | None:
    import torch

    return torch.Generator(device).manual_seed(job.seed) if job.temperature > 0 else None
