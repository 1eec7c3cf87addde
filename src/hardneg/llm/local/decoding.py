"""Answers of a causal language model: batched decoding, and probabilities of given answers."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hardneg.types import Flags

if TYPE_CHECKING:
    from torch import Tensor

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
    length = next((index for index, token in enumerate(row) if token in ends), len(row))
    return DecodedText(row[:length], ended=length < len(row))


class _TokenChooser:
    """Changes the scores of a step so that their largest is the chosen token, a LogitsProcessor."""

    def __init__(self, jobs: Sequence[DecodingJob], end: int, device: Any) -> None:
        import torch

        self._jobs, self._end, self._step = jobs, end, 0
        self._generators = {
            index: torch.Generator(device).manual_seed(job.seed)
            for index, job in enumerate(jobs)
            if job.temperature > 0
        }
        self._active = {index: job.constraint for index, job in enumerate(jobs) if job.constraint is not None}

    def __call__(self, _: Tensor, scores: Tensor) -> Tensor:
        import torch

        for index, generator in self._generators.items():
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


MIN_SHARED = 32
"""Minimum length of a common prefix that gets a pass of its own."""


def log_probabilities(
    model: Any, prompts: Sequence[Sequence[int]], labels: Sequence[Sequence[int]], *, pad: int
) -> Tensor:
    """Return the log-probability of each label as the continuation of each prompt: (prompts, labels), float32.

    It is the sum over all tokens of the label, not their mean. Keys and values of a prompt are computed once for all
    labels, those of a common prefix once for all prompts.
    """
    import torch

    shared = shared_prefix(prompts)
    ids, mask = padded_left([prompt[shared:] for prompt in prompts], pad, model.device)
    cache = None
    with torch.no_grad():
        if shared:
            row = torch.tensor([list(prompts[0][:shared])], device=model.device)
            cache = _forward(model, row, torch.ones_like(row), n_logits=1, use_cache=True).past_key_values
            cache.batch_repeat_interleave(len(prompts))
        mask = torch.cat([mask.new_ones(len(prompts), shared), mask], 1)
        output = _forward(model, ids, mask, n_logits=1, use_cache=True, past_key_values=cache)
        scores: Tensor = output.logits[:, -1].float().log_softmax(-1)[:, [label[0] for label in labels]]
        if max(map(len, labels)) > 1:
            scores = scores + _later_tokens(model, mask, output.past_key_values, labels, pad)
    return scores


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Return the length of the prompts' common prefix, shorter than each of them; 0 if it is not worth a pass."""
    first, limit = prompts[0], min(map(len, prompts)) - 1
    shared = next((n for n in range(limit) if any(prompt[n] != first[n] for prompt in prompts)), limit)
    return shared if len(prompts) > 1 and shared >= MIN_SHARED else 0


def _later_tokens(model: Any, mask: Tensor, cache: Any, labels: Sequence[Sequence[int]], pad: int) -> Tensor:
    """Return the sum over each label's tokens after the first one, (prompts, labels)."""
    import torch

    n_prompts, n_labels, longest = len(mask), len(labels), max(map(len, labels))
    padded = torch.tensor([[*label, *[pad] * (longest - len(label))] for label in labels], device=mask.device)
    lengths = torch.tensor([len(label) for label in labels], device=mask.device)
    counted = torch.arange(1, longest, device=mask.device) < lengths[:, None]
    cache.batch_repeat_interleave(n_labels)
    ids = padded[:, :-1].repeat(n_prompts, 1)
    mask = torch.cat([mask.repeat_interleave(n_labels, 0), torch.ones_like(ids)], 1)
    logits = _forward(model, ids, mask, past_key_values=cache).logits.float().log_softmax(-1)
    each = logits.gather(2, padded[:, 1:].repeat(n_prompts, 1).unsqueeze(2)).squeeze(2)
    sums: Tensor = (each * counted.repeat(n_prompts, 1)).sum(1).view(n_prompts, n_labels)
    return sums


def _forward(model: Any, ids: Tensor, mask: Tensor, *, n_logits: int = 0, **options: Any) -> Any:
    """Run the model on `ids`, the last columns of `mask`; n_logits: number of last positions with logits, 0 for all."""
    parameters = inspect.signature(model.forward).parameters
    if "position_ids" in parameters:
        options["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    if "logits_to_keep" in parameters:
        options["logits_to_keep"] = n_logits
    return model(input_ids=ids, attention_mask=mask, **options)
