"""Leak checks: do a split's artifacts, or the candidates and labels of suspects, depend on held-out pairs?

A split is checked by redrawing its held-out pairs: everything is built again, and hashes are compared. Suspects are
checked for three leaks. Two are those of DTL-NS's release: only the users with test pairs have candidates, and held-out
pairs were removed from the suspects. The third is the opposite: held-out pairs were made suspects because they are held
out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import comb

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.judging.suspects import THRESHOLD, Suspects
from hardneg.random import generator
from hardneg.types import Flags, Indices

BLOCK = 512
"""Users redrawn at once."""
SURPRISING = 1e-6
"""Probability below which a check fails."""
FEW, REMOVED = 0.5, 0.1
"""Shares of the expected held-out pairs below which their number fails, among suspects and among candidates. An unbiased
judge may label held-out pairs a little less often than others."""
NEARLY_ALL = 0.95
"""Share of held-out candidates that are suspects above which their number fails, if fewer than half of all candidates
are suspects."""
HARDLY_ANY = 0.05
"""Share of the expected held-out candidates without a label above the threshold below which their number fails."""
HeldOutPart = Literal["valid", "test"]


@dataclass(frozen=True)
class Check:
    """A check of the audit: the property checked, the result, and the numbers behind it."""

    question: str
    passed: bool
    detail: str


def check_split(split: Split, *, noisy: bool = False) -> list[Check]:
    """Check that the parts are disjoint, that reviews belong to train pairs, and that train alone has the vocabulary.

    noisy: True where train pairs were hidden, so that an item may have none left.
    """
    checks = []
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = int(getattr(split, one).contains(getattr(split, other).users, getattr(split, other).items).sum())
        checks.append(Check(f"{one} and {other} share no pair", shared == 0, f"{shared:,} shared"))
    users, items = (split.reviews[name].to_numpy() for name in (c.USER, c.ITEM))
    n_outside = int((~split.train.contains(users, items)).sum())
    checks.append(Check("every stored review belongs to a train pair", n_outside == 0, f"{n_outside:,} do not"))
    without = int((split.train.counts == 0).sum()), int((split.train.item_counts == 0).sum())
    detail = f"{without[0]:,} users and {without[1]:,} items have none"
    return [*checks, Check("every user and item of the split has a train pair", noisy or without == (0, 0), detail)]


def check_mask(masked: Interactions, train: Interactions) -> Check:
    """Check that an evaluation masks exactly the observed train pairs."""
    added = int((~train.contains(masked.users, masked.items)).sum())
    missing = int((~masked.contains(train.users, train.items)).sum())
    return Check("the mask is the observed train pairs", added == missing == 0, f"{added:,} added, {missing:,} missing")


def check_same(question: str, before: Mapping[str, str], after: Mapping[str, str]) -> Check:
    """Check that all files have the same hashes before and after redrawing held-out pairs."""
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    detail = f"{len(before)} files compared" if not changed else f"changed: {', '.join(changed)}"
    return Check(question, not changed and bool(before), detail)


def redraw(split: Split, part: HeldOutPart, *, seed: int) -> Split:
    """Replace the held-out items of every user by as many others that are neither in train nor in the old part.

    A user with too few such items gets fewer.
    """
    old, train = getattr(split, part), split.train
    rng = generator(seed, f"redraw {part}")
    users, items = [], []
    for start in range(0, old.n_users, BLOCK):
        block = np.arange(start, min(start + BLOCK, old.n_users))
        excluded = train.matrix()[block].toarray() + old.matrix()[block].toarray() > 0
        # The smallest random keys of a user's free items are a sample without replacement, for many users at once.
        order = np.where(excluded, np.inf, rng.random(excluded.shape)).argsort(axis=1)
        amount = np.minimum(old.counts[block], (~excluded).sum(axis=1))
        row, place = np.nonzero(np.arange(old.n_items) < amount[:, None])
        users.append(block[row])
        items.append(order[row, place])
    return split.with_part(part, np.concatenate(users), np.concatenate(items))


def check_candidates(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> list[Check]:
    """Run all checks of a suspects folder."""
    return [
        check_candidate_users(judged, split, "test"),
        check_candidate_users(judged, split, "valid"),
        check_held_out_suspects(judged, split, threshold=threshold),
    ]


def check_candidate_users(judged: Suspects, split: Split, part: HeldOutPart) -> Check:
    """Check that the choice of users with candidates does not depend on who has held-out pairs.

    Users with more train pairs have held-out pairs more often and may have candidates more often, so users with equal
    numbers of train pairs are compared. The check also fails if exactly the users with held-out pairs have candidates.
    Both criteria require a probability by chance below SURPRISING.
    """
    train = split.train.counts
    users = np.flatnonzero(train)
    has_candidates = np.isin(users, judged.users)
    has_held_out = getattr(split, part).counts[users] > 0
    question = f"the users with candidates do not depend on {part} pairs"
    if has_candidates.all():
        return Check(question, True, f"all {len(users):,} train users have candidates")
    n_both = int((has_candidates & has_held_out).sum())
    expected, most = _expected_overlap(train[users], has_candidates, has_held_out)
    p = _upper_tail(n_both, expected, most)
    is_improbable = comb(len(users), has_candidates.sum()) * SURPRISING > 1
    same_users = bool(is_improbable and (has_candidates == has_held_out).all())
    detail = (
        f"{n_both:,} of {has_held_out.sum():,} users with {part} pairs have candidates, "
        f"{has_candidates.sum() - n_both:,} of {(~has_held_out).sum():,} without; p = {p:.2g} among users with equal "
        "numbers of train pairs"
    )
    if same_users:
        detail += "; exactly the users with these pairs have candidates"
    return Check(question, not same_users and p >= SURPRISING, detail)


def _expected_overlap(strata: Indices, one: Flags, other: Flags) -> tuple[float, int]:
    """Return the expected and the maximum number of rows with both flags, if one flag is permuted within each stratum."""
    _, stratum = np.unique(strata, return_inverse=True)
    size, n_one, n_other = (np.bincount(stratum, weights=flags) for flags in (None, one, other))
    return float((n_one * n_other / size).sum()), int(np.minimum(n_one, n_other).sum())


def _upper_tail(count: int, expected: float, most: int) -> float:
    """Return an upper bound of the probability of at least `count`.

    A hypergeometric number is a sum of independent indicators; of all such sums with one mean, the binomial has the
    heaviest tails beyond it (Hoeffding, 1956).
    """
    from scipy.stats import binom

    return float(binom.sf(count - 1, most, expected / max(most, 1))) if count > expected else 1.0


def _lower_tail(count: int, expected: float, most: int) -> float:
    """Return an upper bound of the probability of at most `count`."""
    from scipy.stats import binom

    return float(binom.cdf(count, most, expected / max(most, 1))) if count < expected else 1.0


def check_held_out_suspects(judged: Suspects, split: Split, *, threshold: float = THRESHOLD) -> Check:
    """Check that held-out pairs were neither removed from the suspects nor added to them.

    The check runs for test pairs, validation pairs and both. It fails with too few held-out pairs in either of two
    senses. First, the suspects contain less than half of the expected number, with a probability below SURPRISING. The
    expectation is over random suspects within the candidates of each user, and also of each item, since a judge may
    prefer users with long histories or rare items. Second, the candidates contain less than a tenth of what as many
    unobserved items of their users would (nearly Poisson); a model's candidates contain more.

    It fails with too many, with a probability below SURPRISING in both draws, in either of two cases: nearly all
    held-out candidates but fewer than half of all candidates are suspects; or most are, and hardly any of the held-out
    candidates that should not be are not. Leaks that change fewer labels are not detected; `hardneg audit split` detects
    them in this package's stages by comparing hashes.
    """
    flags = judged.is_above(threshold)
    parts = {
        "held out": union(split.valid, split.test),
        "test pairs": split.test,
        "validation pairs": split.valid,
    }
    checks = [_check_part(judged, flags, split.train, pairs, name) for name, pairs in parts.items()]
    failed = [check for check in checks if not check.passed]
    return [*failed, *checks][0]


def _check_part(judged: Suspects, is_suspect: Flags, train: Interactions, pairs: Interactions, name: str) -> Check:
    from scipy.stats import poisson

    is_held_out = pairs.contains(judged.users, judged.items)
    n_both, n_held_out, n_suspects = (int(x.sum()) for x in (is_held_out & is_suspect, is_held_out, is_suspect))
    overlaps = [_expected_overlap(strata, is_suspect, is_held_out) for strata in (judged.users, judged.items)]
    (of_users, _), (of_items, _) = overlaps
    # Expected number of held-out pairs if each user is paired with a random unobserved item.
    n_unobserved = np.maximum(train.n_items - train.counts[judged.users], 1)
    of_unobserved = float((pairs.counts[judged.users] / n_unobserved).sum())
    p_few, p_many = (max(tail(n_both, *overlap) for overlap in overlaps) for tail in (_lower_tail, _upper_tail))
    p_unobserved = float(poisson.cdf(n_held_out, of_unobserved))
    few = p_few < SURPRISING and n_both < FEW * of_users and n_both < FEW * of_items
    removed = p_unobserved < SURPRISING and n_held_out < REMOVED * of_unobserved
    nearly_all = n_both >= NEARLY_ALL * n_held_out and 2 * n_suspects < len(judged)
    no_other = n_held_out - n_both < HARDLY_ANY * (n_held_out - max(of_users, of_items))
    many = p_many < SURPRISING and (nearly_all or no_other)
    detail = (
        f"{n_both:,} of {n_suspects:,} suspects are {name}; expected by chance {of_users:,.1f} within users and "
        f"{of_items:,.1f} within items (p = {p_many if many else p_few:.2g}); {n_held_out:,} of {len(judged):,} "
        f"candidates are {name}; expected of unobserved items {of_unobserved:,.1f} (p = {p_unobserved:.2g})"
    )
    return Check("the suspects do not depend on held-out pairs", not (few or removed or many), detail)
