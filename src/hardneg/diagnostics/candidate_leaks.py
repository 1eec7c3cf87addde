"""Did held-out pairs decide who has candidates, or what was called liked? A suspects folder answers both.

Two faults are those of DTL-NS's release: candidates exist for exactly the users with test pairs, and held-out pairs were
taken out of what the judge called liked. A third is their opposite: what is held out was called liked because it is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.special import comb
from scipy.stats import binom, poisson

from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.diagnostics.leakage import Check
from hardneg.judging.suspects import THRESHOLD, Suspects
from hardneg.types import Flags, Indices

SURPRISING = 1e-6
"""Probability below which chance is no explanation."""
FEW, REMOVED = 0.5, 0.1
"""Held-out pairs are suspiciously few below this share of what chance would give, drawn from candidates or from unobserved
items; a judge may well like them a little less."""
NEARLY_ALL = 0.95
"""Share of the held-out candidates that is suspiciously large where fewer than half of the candidates are liked."""

HeldOutPart = Literal["valid", "test"]
PARTS: tuple[HeldOutPart, ...] = ("test", "valid")


def check_candidates(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> list[Check]:
    """All of this module."""
    return [
        *(check_candidate_users(judged, split, part) for part in PARTS),
        check_held_out_suspects(judged, split, threshold=threshold),
    ]


def check_candidate_users(judged: Suspects, split: Split, part: HeldOutPart) -> Check:
    """Who has candidates must not tell who has held-out pairs.

    Users with more train pairs have held-out ones more often, and may rightly have candidates more often. So users of
    equally many train pairs are compared; and candidates of exactly the users with held-out pairs fail whatever their
    train pairs are. Both where chance does it with a probability below one in a million.
    """
    train = split.train.counts
    users = np.flatnonzero(train)
    chosen = np.isin(users, judged.users)
    holds = getattr(split, part).counts[users] > 0
    question = f"who has candidates does not tell who has {part} pairs"
    if chosen.all():
        return Check(question, True, f"all {len(users):,} train users have candidates")
    expected, most = _both(train[users], chosen, holds)
    p = _so_many(int((chosen & holds).sum()), expected, most)
    alike = bool((chosen == holds).all() and comb(len(users), chosen.sum()) * SURPRISING > 1)
    detail = (
        f"{(chosen & holds).sum():,} of {holds.sum():,} users with {part} pairs have candidates, "
        f"{(chosen & ~holds).sum():,} of {(~holds).sum():,} without; "
    )
    detail += f"among users of equally many train pairs by chance with p = {p:.2g}"
    if alike:
        detail += "; they are exactly these users"
    return Check(question, not alike and p >= SURPRISING, detail)


def _both(strata: Indices, one: Flags, other: Flags) -> tuple[float, int]:
    """How many rows would have both marks by chance, those of one drawn within each stratum; and how many could."""
    _, which = np.unique(strata, return_inverse=True)
    size, n_one, n_other = (np.bincount(which, weights=flags) for flags in (None, one, other))
    return float((n_one * n_other / size).sum()), int(np.minimum(n_one, n_other).sum())


def _so_many(found: int, expected: float, most: int) -> float:
    """Probability of so many or more, at most: a hypergeometric number is a sum of independent marks, and of all such sums
    with one mean the binomial has the heaviest tails beyond it (Hoeffding, 1956)."""
    return float(binom.sf(found - 1, most, expected / max(most, 1))) if found > expected else 1.0


def _so_few(found: int, expected: float, most: int) -> float:
    """Probability of so few or fewer, at most."""
    return float(binom.cdf(found, most, expected / max(most, 1))) if found < expected else 1.0


def check_held_out_suspects(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> Check:
    """Nobody took held-out pairs out of the suspects, nor put them in: test pairs, validation pairs, or both together.

    A judge that knows nothing of held-out pairs keeps its share of them. There are suspiciously few where the suspects
    hold less than half of what chance gives, and chance gives so few with a probability below one in a million: chance
    being as many suspects drawn from the candidates of each user, and also from the users of each candidate item, since a
    judge may rightly prefer users with long histories, or items that few have. Or where the candidates themselves, of
    which a model's hold more than others, hold less than a tenth of what as many unobserved items of their users would
    (nearly Poisson). There are suspiciously many where, as improbably by both draws, nearly all held-out candidates are
    suspects though fewer than half of the candidates are. What changes fewer labels is not seen in them: whether a stage
    of ours reads what is held out, `hardneg audit SPLIT` tells by hashes.
    """
    liked = judged.liked(threshold)
    views = {
        "held out": union(split.valid, split.test),
        "test pairs": split.test,
        "validation pairs": split.valid,
    }
    found = [_held_out_suspects(judged, liked, split.train, pairs, name) for name, pairs in views.items()]
    failed = [check for check in found if not check.passed]
    return [*failed, *found][0]


def _held_out_suspects(judged: Suspects, liked: Flags, train: Interactions, pairs: Interactions, name: str) -> Check:
    marked = pairs.contains(judged.users, judged.items)
    found, among, suspects = int((marked & liked).sum()), int(marked.sum()), int(liked.sum())
    draws = [_both(strata, liked, marked) for strata in (judged.users, judged.items)]
    of_unobserved = _expected(judged.users, pairs, train)
    p_few, p_many = (max(tail(found, *draw) for draw in draws) for tail in (_so_few, _so_many))
    p_unobserved = float(poisson.cdf(among, of_unobserved))
    few = p_few < SURPRISING and all(found < FEW * expected for expected, _ in draws)
    removed = p_unobserved < SURPRISING and among < REMOVED * of_unobserved
    many = p_many < SURPRISING and found >= NEARLY_ALL * among and 2 * suspects < len(judged)
    (of_user, _), (of_item, _) = draws
    detail = (
        f"{found:,} of {suspects:,} suspects are {name}, by chance {of_user:,.1f} of the same users, {of_item:,.1f} of the "
        f"same items (p = {p_many if many else p_few:.2g}); {among:,} of {len(judged):,} candidates are, by chance "
        f"{of_unobserved:,.1f} of unobserved items (p = {p_unobserved:.2g})"
    )
    return Check("held-out pairs did not decide what was called liked", not (few or removed or many), detail)


def _expected(users: Indices, held_out: Interactions, train: Interactions) -> float:
    """Held-out pairs among as many unobserved items of these users, drawn at random."""
    return float((held_out.counts[users] / np.maximum(train.n_items - train.counts[users], 1)).sum())
