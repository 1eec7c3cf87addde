"""Answers written by a causal language model, batched: greedy or sampled, free or held to what a constraint allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hardneg.types import Flags

if TYPE_CHECKING:
    from torch import Generator, Tensor

TRIES = 16
"""Likeliest tokens looked at for one that leaves room to finish, before the answer is closed."""


class Constraint(Protocol):
    """What one answer must become; it follows the tokens as they are chosen."""

    def allow(self, tokens: Flags, left: int, /) -> None:
        """Set in `tokens` (vocabulary,), all False, which may come next; `left` tokens may still be written."""
        ...

    def fits(self, token: int, left: int, /) -> bool:
        """Could the answer still be finished after this token?"""
        ...

    def closing(self) -> int:
        """The next token on a shortest way to the end."""
        ...

    def take(self, token: int, /) -> None:
        """Go on by a token."""
        ...


@dataclass(frozen=True)
class DecodingJob:
    """One answer to write: the prompt's ids, the most tokens (the end counted), temperature, seed and constraint."""

    ids: Sequence[int]
    limit: int
    temperature: float = 0.0
    seed: int = 0
    constraint: Constraint | None = None


@dataclass(frozen=True)
class DecodedText:
    """Tokens of an answer, the end left out; ended: it came to its end within the limit."""

    ids: list[int]
    ended: bool


def decode(model: Any, jobs: Sequence[DecodingJob], *, ends: Sequence[int], pad: int) -> list[DecodedText]:
    """Write the answers of a batch; prompts are padded on the left.

    ends: tokens that end an answer, ends[0] the one that constraints use. Sampling adds Gumbel noise to the scores over
    the temperature and takes the largest. The noise of a job comes from its own seed, so an answer does not depend on
    its batch, as far as the arithmetic does not: in 16 bits the last digits of scores do.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    ids, mask = padded_left([job.ids for job in jobs], pad, model.device)
    limits = torch.tensor([job.limit for job in jobs], device=model.device)
    width = ids.shape[1]

    def spent(ids: Tensor, *_: object, **__: object) -> Tensor:
        return ids.shape[1] - width >= limits

    settings = GenerationConfig(  # type: ignore[no-untyped-call]
        max_new_tokens=int(limits.max()), do_sample=False, eos_token_id=list(ends), pad_token_id=pad, num_beams=1
    )
    with torch.no_grad():
        made = model.generate(
            input_ids=ids,
            attention_mask=mask,
            generation_config=settings,
            logits_processor=LogitsProcessorList([_Steering(jobs, ends[0], model.device)]),
            stopping_criteria=StoppingCriteriaList([spent]),
        )
    rows = made[:, width:].tolist()
    return [_written(row[: job.limit], ends) for row, job in zip(rows, jobs, strict=True)]


def padded_left(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """Ids (rows, longest) with padding before them, and the mask of what is no padding."""
    import torch

    ids = torch.full((len(rows), max(map(len, rows))), pad)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(rows):
        ids[place, len(ids[place]) - len(row) :] = torch.tensor(row)
        mask[place, len(ids[place]) - len(row) :] = 1
    return ids.to(device), mask.to(device)


def _written(row: list[int], ends: Sequence[int]) -> DecodedText:
    stops = [place for place, token in enumerate(row) if token in ends]
    return DecodedText(row[: stops[0]], ended=True) if stops else DecodedText(row, ended=False)


class _Steering:
    """Turns a step's scores into ones whose largest is the token wanted."""

    def __init__(self, jobs: Sequence[DecodingJob], end: int, device: Any) -> None:
        self._jobs, self._end = jobs, end
        self._noise = [_noise(job, device) for job in jobs]
        self._bound = [place for place, job in enumerate(jobs) if job.constraint is not None]
        self._step = 0

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        self._sample(scores)
        if self._bound:
            self._hold(scores)
            self._bound = [place for place in self._bound if self._left(place) > 1]
        self._step += 1
        return scores

    def _sample(self, scores: Tensor) -> None:
        import torch

        for place, noise in enumerate(self._noise):
            if noise is not None:
                waits = torch.empty_like(scores[place]).exponential_(generator=noise)
                scores[place] = scores[place] / self._jobs[place].temperature - waits.log()

    def _hold(self, scores: Tensor) -> None:
        """Bar what constraints do not allow; each then follows the token that is chosen."""
        import torch

        allowed = np.zeros((len(self._bound), scores.shape[1]), np.bool_)
        for row, place in zip(allowed, self._bound, strict=True):
            self._constraint(place).allow(row, self._left(place))
        held = scores[self._bound].masked_fill_(~torch.from_numpy(allowed).to(scores.device), -torch.inf)
        scores[self._bound] = held
        for place, token in zip(self._bound, held.argmax(1).tolist(), strict=True):
            chosen = self._settled(scores[place], place, token)
            if chosen != self._end:
                self._constraint(place).take(chosen)
            else:
                self._finish(place)

    def _settled(self, scores: Tensor, place: int, token: int) -> int:
        """The likeliest of the first tokens that leave room to finish, else one that closes."""
        import torch

        constraint, left = self._constraint(place), self._left(place)
        for _ in range(TRIES):
            if constraint.fits(token, left):
                return token
            scores[token] = -torch.inf
            token = int(scores.argmax())
        token = constraint.closing()
        scores.fill_(-torch.inf)
        scores[token] = 0.0
        return token

    def _finish(self, place: int) -> None:
        self._bound = [other for other in self._bound if other != place]

    def _constraint(self, place: int) -> Constraint:
        constraint = self._jobs[place].constraint
        assert constraint is not None
        return constraint

    def _left(self, place: int) -> int:
        return self._jobs[place].limit - self._step


def _noise(job: DecodingJob, device: Any) -> Generator | None:
    import torch

    return torch.Generator(device).manual_seed(job.seed) if job.temperature > 0 else None
