"""Did held-out pairs decide who has candidates, or what was called liked? Two questions that a suspects folder answers.

Two faults are those of DTL-NS's release: candidates exist for exactly the users with test pairs, and held-out pairs were
taken out of what the judge called liked. A third is their opposite: what is held out was called liked because it is.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from scipy.stats import hypergeom, norm, poisson

from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.diagnostics.leakage import Check
from hardneg.negatives.suspects import THRESHOLD, Suspects
from hardneg.types import Flags, Indices

SURPRISING = 1e-6
"""Probability below which chance is no explanation."""
FEW = 0.5
"""Held-out pairs are suspiciously few below this share of what chance would give; a judge may well like them a little less."""
NEARLY_ALL = 0.95
"""No honest judge that calls fewer than half of the candidates liked finds so large a share of the held-out ones."""

Part = Literal["valid", "test"]
PARTS: tuple[Part, ...] = ("test", "valid")


def check_candidates(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> list[Check]:
    """All of this module."""
    return [
        *(check_candidate_users(judged, split, part) for part in PARTS),
        check_held_out_suspects(judged, split, threshold=threshold),
    ]


def check_candidate_users(judged: Suspects, split: Split, part: Part) -> Check:
    """Who has candidates must not tell who has held-out pairs.

    Users with more train pairs have held-out ones more often, and may rightly have candidates more often. So users of
    equally many train pairs are compared (Cochran-Mantel-Haenszel, one-sided); and candidates of exactly the users with
    held-out pairs, where there are such users and others, fail whatever their train pairs are.
    """
    train = split.train.counts
    users = np.flatnonzero(train)
    chosen = np.isin(users, judged.users)
    holds = getattr(split, part).counts[users] > 0
    question = f"who has candidates does not tell who has {part} pairs"
    if chosen.all():
        return Check(question, True, f"all {len(users):,} train users have candidates")
    p = _surprise(train[users], chosen, holds)
    alike = bool(chosen.any() and (chosen == holds).all())
    detail = (
        f"{(chosen & holds).sum():,} of {holds.sum():,} users with {part} pairs have candidates, "
        f"{(chosen & ~holds).sum():,} of {(~holds).sum():,} without; "
    )
    detail += "no two users of equally many train pairs differ" if p is None else f"by chance with p = {p:.2g}"
    return Check(question, not alike and (p is None or p >= SURPRISING), detail)


def _surprise(strata: Indices, chosen: Flags, holds: Flags) -> float | None:
    """Probability of so many users who are both, within strata; None where no stratum can tell."""
    _, which = np.unique(strata, return_inverse=True)
    size, n_chosen, n_holds, both = (
        np.bincount(which, weights=flags) for flags in (None, chosen, holds, chosen & holds)
    )
    expected = n_chosen * n_holds / size
    spread = n_chosen * n_holds * (size - n_chosen) * (size - n_holds) / (size**2 * np.maximum(size - 1, 1))
    if not spread.sum():
        return None
    return float(norm.sf((both - expected).sum() / np.sqrt(spread.sum())))


def check_held_out_suspects(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> Check:
    """Nobody took held-out pairs out of the suspects, nor put them in: test pairs, validation pairs, or both together.

    A model's candidates hold more held-out pairs than unobserved items drawn at random would, and a judge that knows
    nothing of them keeps its share. So there are suspiciously few where the suspects hold less than half of what chance
    gives, and chance gives so few with a probability below one in a million: chance being the same number of suspects
    drawn from all candidates (hypergeometric), or from the unobserved items of their users (nearly Poisson). There are
    suspiciously many where, as improbably by the first of these, nearly all held-out candidates are suspects though
    fewer than half of the candidates are. What changes fewer labels is not seen in them: whether a stage of ours reads
    what is held out, `hardneg audit SPLIT` tells by hashes.
    """
    suspects = judged.above(threshold)
    views = {
        "held out": union(split.valid, split.test),
        "test pairs": split.test,
        "validation pairs": split.valid,
    }
    found = [_held_out_suspects(judged, suspects, split.train, pairs, name) for name, pairs in views.items()]
    failed = [check for check in found if not check.passed]
    return [*failed, *found][0]


def _held_out_suspects(
    judged: Suspects, suspects: Suspects, train: Interactions, pairs: Interactions, name: str
) -> Check:
    found = int(pairs.contains(suspects.users, suspects.items).sum())
    among = int(pairs.contains(judged.users, judged.items).sum())
    of_candidates, draws = among * len(suspects) / max(len(judged), 1), hypergeom(len(judged), among, len(suspects))
    of_unobserved = _expected(suspects.users, pairs, train)
    p_candidates, p_unobserved = float(draws.cdf(found)), float(poisson.cdf(found, of_unobserved))
    few = any(
        p < SURPRISING and found < FEW * expected
        for expected, p in ((of_candidates, p_candidates), (of_unobserved, p_unobserved))
    )
    so_many = float(draws.sf(found - 1))
    many = found >= NEARLY_ALL * among and 2 * len(suspects) < len(judged) and so_many < SURPRISING
    detail = (
        f"{found:,} of {len(suspects):,} suspects are {name}, by chance {of_candidates:,.1f} drawn from the candidates "
        f"(p = {p_candidates:.2g}), {of_unobserved:,.1f} drawn from unobserved items (p = {p_unobserved:.2g})"
    )
    if many:
        detail = (
            f"{found:,} of {len(suspects):,} suspects are {name}, of {among:,} among the candidates; by chance "
            f"{of_candidates:,.1f} (p = {so_many:.2g})"
        )
    return Check("held-out pairs did not decide what was called liked", not (few or many), detail)


def _expected(users: Indices, held_out: Interactions, train: Interactions) -> float:
    """Held-out pairs among as many unobserved items of these users, drawn at random."""
    return float((held_out.counts[users] / np.maximum(train.n_items - train.counts[users], 1)).sum())
