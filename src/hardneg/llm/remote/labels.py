"""Probabilities of labels, read from the most likely first tokens of an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hardneg.llm.protocol import Refusal


def label_probabilities(choices: Sequence[str], top: Sequence[tuple[str, float]]) -> tuple[float, ...] | Refusal:
    """Return probabilities of `choices` in their order, summing to one.

    top: (token, log-probability) of the most likely first tokens. A token counts for the only choice that it begins;
    surrounding space is ignored, and case unless choices differ by it alone. A choice that no token begins gets an
    upper bound: the smaller of the least likely token shown and an equal share of the mass not shown. Refused if no
    choice is among the tokens, and if one choice begins another.
    """
    names = [choice.strip() for choice in choices]
    folded = [name.casefold() for name in names]
    ignores_case = len(set(folded)) == len(folded)
    names = folded if ignores_case else names
    if any(a != b and b.startswith(a) for a in names for b in names) or len(set(names)) < len(names):
        return Refusal("one choice begins another, so first tokens do not distinguish them; choose other labels")
    masses = [0.0] * len(names)
    for token, logprob in top:
        start = token.strip().casefold() if ignores_case else token.strip()
        begun = [index for index, name in enumerate(names) if start and name.startswith(start)]
        if len(begun) == 1:
            masses[begun[0]] += math.exp(logprob)
    if not any(masses):
        return Refusal(f"no choice is among the {len(top)} most likely first tokens; name the choices in the prompt")
    shown = [math.exp(logprob) for _, logprob in top]
    unseen = sum(mass == 0 for mass in masses)
    bound = min(*shown, max(1.0 - sum(shown), 0.0) / max(unseen, 1))
    masses = [mass or bound for mass in masses]
    total = sum(masses)
    return tuple(mass / total for mass in masses)
