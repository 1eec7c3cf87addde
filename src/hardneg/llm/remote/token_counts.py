"""Token counts that a server reports: implausible ones are replaced by estimates, and a ceiling is noticed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeGuard

from hardneg.llm.protocol import Usage

MAX_FACTOR = 20
"""A count differs from an estimate by less than this factor; estimates are right within a factor of two."""
ALLOWANCE = 100
"""Tokens that a server may add to a prompt or an answer, such as its own instructions."""
MAX_TOKENS = 10_000_000
"""Maximum number of tokens of any request."""
MIN_CEILING, MIN_PROMPTS = 32, 5
"""Minimum number of tokens of a ceiling, and of prompts of different lengths that are counted alike."""


def read_usage(answer: Mapping[str, Any], estimate: Usage, max_tokens: int) -> Usage:
    """Return the usage that an answer reports, or the estimate with the reason where its counts cannot be right.

    Counts that are zero, negative, missing, no integers or far from the estimate are no counts. max_tokens: of the
    answer.
    """
    counts = _counts(answer)
    prompt, written = counts.get("prompt_tokens"), counts.get("completion_tokens")
    if not counts:
        return replace(estimate, estimated=True, reason="the server reports no token counts")
    if not _is_near(prompt, estimate.prompt_tokens):
        found = f"{prompt!r:.40} prompt tokens for about {estimate.prompt_tokens:,}"
    elif not _is_near(written, estimate.answer_tokens, max_tokens):
        found = f"{written!r:.40} answer tokens for about {estimate.answer_tokens:,}"
    else:
        details = counts.get("prompt_tokens_details")
        cached = details.get("cached_tokens") if isinstance(details, dict) else None
        return Usage(prompt, written, cached if type(cached) is int and 0 <= cached <= prompt else 0)
    return replace(estimate, estimated=True, reason=f"the server reports {found}")


def read_prompt_tokens(answer: Mapping[str, Any], estimate: int) -> int | None:
    """Return the prompt tokens that an answer reports, None where they cannot be right."""
    prompt = _counts(answer).get("prompt_tokens")
    return prompt if _is_near(prompt, estimate) else None


def _counts(answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the usage of an answer, {} without any."""
    usage = answer.get("usage")
    return usage if isinstance(usage, dict) else {}


def _is_near(count: object, estimate: int, longest: int = 0) -> TypeGuard[int]:
    """Return True for an integer that may be right. longest: another upper bound of what was expected."""
    most = min(MAX_FACTOR * (max(estimate, longest) + ALLOWANCE), MAX_TOKENS)
    return type(count) is int and max(min(1, estimate), estimate // MAX_FACTOR) <= count <= most


@dataclass
class PromptCeiling:
    """The largest number of prompt tokens that a server reported, and the estimates of the prompts counted so.

    A server that cuts prompts at its context length counts longer prompts alike.
    """

    _largest: int = MIN_CEILING
    _estimates: set[int] = field(default_factory=set)
    _prompts: int = 0
    _is_known: bool = False

    def add(self, answer: Mapping[str, Any], estimate: int) -> str:
        """Record an answer; return a question to the user, once, where prompts seem to be cut, else ""."""
        reported = _counts(answer).get("prompt_tokens")
        if self._is_known or type(reported) is not int or not self._largest <= reported <= MAX_TOKENS:
            return ""
        if reported > self._largest:
            self._largest, self._estimates, self._prompts = reported, set(), 0
        self._estimates.add(estimate)
        self._prompts += 1
        shortest, longest = min(self._estimates), max(self._estimates)
        cut = (
            (longest >= 1.25 * shortest and longest >= 0.8 * reported)
            or (longest >= 1.1 * shortest and longest >= 1.25 * reported)
            or (len(self._estimates) >= 3 and longest >= 2 * reported)
        )
        if self._prompts < MIN_PROMPTS or not cut:
            return ""
        self._is_known = True
        return (
            f"{self._prompts} prompts of about {shortest:,} to {longest:,} tokens were all counted as {reported:,}: "
            "is the server's context too short? It may cut prompts; raise it (num_ctx, --ctx-size, --max-model-len), "
            "or send shorter prompts"
        )
