"""The tokens of one answer: the most likely, or a sampled one, among those that its constraint allows."""

from __future__ import annotations

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

    def draft(self) -> Sequence[int]:
        """Return likely next tokens, which are used only if the model chooses the same; () if it has many ways on."""
        return ()


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


class OpenAnswer:
    """An answer while it is decoded.

    ids: its tokens so far. done: nothing follows, since an end token came (`ended`) or the limit is reached.
    Sampling takes the largest of score / temperature + Gumbel noise, drawn once for each token from the job's own seed.
    """

    def __init__(self, job: DecodingJob, ends: Sequence[int], device: Any) -> None:
        import torch

        self._job, self._ends, self._constraint = job, ends, job.constraint
        self.ids: list[int] = []
        self.ended = False
        self._width, self._device = 0, device
        self._generator = torch.Generator(device).manual_seed(job.seed) if job.temperature > 0 else None

    @property
    def done(self) -> bool:
        """True if no token follows."""
        return self.ended or len(self.ids) >= self._job.limit

    def choose(self, scores: Tensor, best: int) -> int:
        """Choose and take the next token. scores: (vocabulary,); best: index of the largest."""
        self._width = len(scores)
        if self._generator is not None:
            scores = scores / self._job.temperature - self._draw_waits().log()
            best = int(scores.argmax())
        return self._take(best if self._constraint is None else self._choose_allowed(scores, best))

    def follow(self, scores: Tensor, best: Sequence[int], draft: Sequence[int]) -> tuple[int, list[int]]:
        """Take tokens by the scores after the answer so far and after each token of a draft.

        Returns how many tokens of the draft were taken, and the tokens taken after these.
        """
        for position, expected in enumerate([*draft, None]):
            token = self.choose(scores[position], best[position])
            if self.done or token != expected:
                return position, [token, *self._take_forced()]
        raise AssertionError("the last token is never expected")

    def draft(self) -> Sequence[int]:
        """Return the constraint's draft, at most as long as the answer may still become."""
        return self._constraint.draft()[: self._left - 1] if self._constraint is not None and not self.done else ()

    @property
    def _left(self) -> int:
        return self._job.limit - len(self.ids)

    def _take(self, token: int) -> int:
        self.ended = token in self._ends
        if not self.ended:
            self.ids.append(token)
            if self._constraint is not None:
                self._constraint.take(token)
        return token

    def _take_forced(self) -> list[int]:
        """Take tokens, the end token included, as long as the constraint allows a single one: no score is needed."""
        forced: list[int] = []
        while self._constraint is not None and not self.done:
            allowed = np.flatnonzero(self._allowed())
            if len(allowed) != 1:
                break
            if self._generator is not None:
                self._draw_waits()
            token = int(allowed[0])
            forced.append(self._take(token if self._constraint.fits(token, self._left) else self._constraint.closing()))
        return forced

    def _allowed(self) -> Flags:
        allowed = np.zeros(self._width, np.bool_)
        if self._constraint is not None:
            self._constraint.allow(allowed, self._left)
        return allowed

    def _choose_allowed(self, scores: Tensor, token: int) -> int:
        """Return the most likely of the first tokens after which the answer can end in time, otherwise one that closes."""
        import torch

        constraint, allowed = self._constraint, self._allowed()
        assert constraint is not None
        for _ in range(TRIES):
            if not allowed[token]:
                token = int(scores.masked_fill(~torch.from_numpy(allowed).to(scores.device), -torch.inf).argmax())
            if not allowed[token] or constraint.fits(token, self._left):
                break
            allowed[token] = False
        return token if allowed[token] else constraint.closing()

    def _draw_waits(self) -> Tensor:
        import torch

        waits = torch.empty(self._width, device=self._device)
        return waits.exponential_(generator=self._generator)
