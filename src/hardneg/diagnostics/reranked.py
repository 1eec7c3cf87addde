"""Checks of a reranked run: its bonuses exchange scores of judged candidates, and do not follow held-out pairs."""

from __future__ import annotations

import numpy as np

from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.diagnostics.held_out_pairs import BETTER, BETTER_BY_CHANCE
from hardneg.diagnostics.leakage import NEARLY_ALL, SURPRISING, Check
from hardneg.types import Floats

ROUNDING = 1e-4
"""Difference of scores, as a share of the largest, that may be rounding."""
ENOUGH = 20
"""Held-out candidates from which their places are judged."""


def check_bonus(
    pairs: Interactions, own: Floats, bonus: Floats, split: Split, *, by_chance: bool = False
) -> list[Check]:
    """Check the bonuses (pairs,) of judged pairs. own: scores without bonus. by_chance: as in `check_pairs`."""
    observed = int(split.train.contains(pairs.users, pairs.items).sum())
    return [
        Check("no train pair has a bonus", observed == 0, f"{observed:,} of {len(pairs):,} judged pairs"),
        _check_exchange(pairs, own, own + bonus),
        _check_places(pairs, own + bonus, split, by_chance=by_chance),
    ]


def _check_exchange(pairs: Interactions, own: Floats, total: Floats) -> Check:
    """Check that the judged items of a user have each other's scores."""
    before, after = (scores[np.lexsort((scores, pairs.users))] for scores in (own, total))
    differs = np.abs(before - after) > ROUNDING * np.abs(own).max(initial=0.0)
    users = len(np.unique(pairs.users[differs]))
    return Check("judged items exchange scores with one another", users == 0, f"{users:,} users with other scores")


def _check_places(pairs: Interactions, total: Floats, split: Split, *, by_chance: bool) -> Check:
    """Check that held-out candidates are ordered as by a judge that did not see them.

    The place of a candidate is the share of the user's other unobserved candidates with higher scores. It fails where
    test candidates have far better places than validation candidates or the reverse, or where nearly all have the best.
    """
    from scipy.stats import mannwhitneyu

    question = "held-out candidates are ordered as by a judge that did not see them"
    parts = {"test": split.test, "validation": split.valid}
    places = {name: _find_places(pairs, total, part, union(split.valid, split.test)) for name, part in parts.items()}
    ratio = BETTER_BY_CHANCE if by_chance else BETTER
    for one, other in (("test", "validation"), ("validation", "test")):
        first, second = places[one], places[other]
        if len(first) >= ENOUGH and (first == 0).mean() >= NEARLY_ALL:
            return Check(question, False, f"{(first == 0).sum():,} of {len(first):,} {one} candidates are first")
        if len(first) and len(second) and first.mean() < ratio * second.mean():
            p = float(mannwhitneyu(first, second, alternative="less").pvalue)
            if p < SURPRISING:
                detail = (
                    f"mean place {first.mean():.3f} of {one}, {second.mean():.3f} of {other} candidates (p = {p:.2g})"
                )
                return Check(question, False, detail)
    listed = ", ".join(
        f"{values.mean():.3f} of {len(values):,} {name}" for name, values in places.items() if len(values)
    )
    return Check(question, True, f"mean place, 0 the best: {listed or 'no held-out'} candidates")


def _find_places(pairs: Interactions, total: Floats, part: Interactions, held_out: Interactions) -> Floats:
    """Return the places in [0, 1] of candidates of a part, for users with other candidates that are not held out."""
    order = np.lexsort((-total, pairs.users))
    users, items = pairs.users[order], pairs.items[order]
    is_other = ~held_out.contains(users, items)
    others = np.bincount(users, weights=is_other, minlength=pairs.n_users)
    before: Floats = np.cumsum(is_other) - is_other  # of all users up to this candidate
    above = before - (np.cumsum(others) - others)[users]
    chosen = part.contains(users, items) & (others[users] > 0)
    return np.asarray(above[chosen] / others[users][chosen])
