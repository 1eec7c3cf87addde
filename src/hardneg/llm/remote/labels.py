"""Probabilities of labels, read from the likeliest first tokens of an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hardneg.llm.protocol import Refusal


def from_top(choices: Sequence[str], top: Sequence[tuple[str, float]]) -> tuple[float, ...] | Refusal:
    """Probabilities of `choices`, in their order, summing to one, from (token, log-probability) of an answer's start.

    A token counts for the one choice that it begins; space around it does not matter, nor case where the choices are
    told apart without it. A choice that no token begins gets an upper bound in the place of its probability: no more
    than the least likely token shown, and no more than its share of the mass that was not shown. So a probability is
    exact up to that bound. Refused where no choice is among the tokens, and where one choice begins another.
    """
    names, cased = _comparable(choices)
    if any(a != b and b.startswith(a) for a in names for b in names) or len(set(names)) < len(names):
        return Refusal("one choice begins another, so that first tokens cannot tell them apart; choose other labels")
    masses = [0.0] * len(names)
    for token, logprob in top:
        said = token.strip() if cased else token.strip().casefold()
        begun = [place for place, name in enumerate(names) if said and name.startswith(said)]
        if len(begun) == 1:
            masses[begun[0]] += math.exp(logprob)
    if not any(masses):
        return Refusal(f"no choice is among the {len(top)} likeliest first tokens; ask for one of them in the prompt")
    return _normalised(_filled(masses, [math.exp(logprob) for _, logprob in top]))


def _comparable(choices: Sequence[str]) -> tuple[list[str], bool]:
    """Choices as tokens are compared with them, and whether case matters."""
    stripped = [choice.strip() for choice in choices]
    folded = [choice.casefold() for choice in stripped]
    cased = len(set(folded)) < len(folded)
    return (stripped, True) if cased else (folded, False)


def _filled(masses: list[float], shown: list[float]) -> list[float]:
    """Give choices that were not seen the most that they can have."""
    unseen = sum(mass == 0 for mass in masses)
    bound = min(*shown, max(1.0 - sum(shown), 0.0) / max(unseen, 1))
    return [mass or bound for mass in masses]


def _normalised(masses: list[float]) -> tuple[float, ...]:
    total = sum(masses)
    return tuple(mass / total for mass in masses)
