"""Statistical signs that pairs or scores were made with held-out pairs, whatever made them.

Held-out pairs among negatives or candidates: far fewer than by chance where they were avoided; far more test than
validation pairs, or nearly all of them, where they were used. Scores: a model that saw neither part ranks test pairs
about as high as validation pairs, and not above the train pairs that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from torch import Tensor

from hardneg.data.interactions import Interactions, union
from hardneg.data.split import Split
from hardneg.diagnostics.leakage import FEW, NEARLY_ALL, SURPRISING, Check
from hardneg.random import generator
from hardneg.types import Floats, Indices, block_slices, unit_rows

MANY, MANY_BY_CHANCE = 5.0, 1.2
"""Ratio of the shares found of test and of validation pairs above which it fails; the second where chance divided them."""
MOST = 0.5
"""Share of all pairs from which held-out pairs fail."""
BETTER, BETTER_BY_CHANCE = 0.5, 0.9
"""Ratio of the mean ranks of two parts below which the better one fails; the second where chance divided them."""
SAMPLED = 5_000
"""Pairs of each part whose ranks are compared, and vectors whose nearest items are searched."""
BLOCK = 512


def check_pairs(users: Indices, items: Indices, split: Split, name: str, *, by_chance: bool = False) -> Check:
    """Check that user-item pairs hold neither too few nor too many held-out pairs.

    users, items: (n,), pairs in any order; repeated pairs and train pairs do not count. by_chance: True where chance
    divided held-out pairs into validation and test.
    """
    pairs = _unobserved(users, items, split.train)
    signs = [_find_too_few(pairs, split), _find_too_many(pairs, split, by_chance=by_chance)]
    found = [sign for sign in signs if sign]
    detail = "; ".join(found) if found else _describe(pairs, split)
    return Check(f"the {name} hold held-out pairs as often as chance explains", not found, detail)


def check_added(users: Indices, items: Indices, split: Split, name: str, *, by_chance: bool = False) -> Check:
    """Check that user-item pairs hold not too many held-out pairs, as `check_pairs` does."""
    pairs = _unobserved(users, items, split.train)
    found = _find_too_many(pairs, split, by_chance=by_chance)
    question = f"the {name} hold held-out pairs no more often than chance explains"
    return Check(question, not found, found or _describe(pairs, split))


def check_nearest(vectors: Floats, items: Floats, split: Split, name: str, *, by_chance: bool = False) -> Check:
    """Check that the item nearest to the vector of a train pair is no held-out item of its user too often.

    vectors: (pairs, size), NaN where missing. items: (n_items, size) in the same space. At most SAMPLED pairs are drawn.
    """
    rows = np.flatnonzero(~np.isnan(np.asarray(vectors[:, 0], np.float32)))
    rows = np.sort(generator(0, "audited vectors").permutation(rows)[:SAMPLED])
    table = np.nan_to_num(unit_rows(np.asarray(items, np.float32)))
    nearest = np.empty(len(rows), np.int64)
    for block in block_slices(len(rows), BLOCK):
        nearest[block] = (np.asarray(vectors[rows[block]], np.float32) @ table.T).argmax(axis=1)
    return check_added(split.train.users[rows], nearest, split, f"items nearest to {name}", by_chance=by_chance)


def _find_too_many(pairs: Interactions, split: Split, *, by_chance: bool) -> str:
    """Return the sign that held-out pairs were added to unobserved pairs, "" where there is none."""
    from scipy.stats import binom, poisson

    parts = {"test": split.test, "validation": split.valid}
    hits = {name: _count(pairs, part) for name, part in parts.items()}
    ratio = MANY_BY_CHANCE if by_chance else MANY
    for (one, first), (other, second) in (list(parts.items()), list(parts.items())[::-1]):
        p = binom.sf(hits[one] - 1, hits[one] + hits[other], len(first) / max(len(first) + len(second), 1))
        is_larger = hits[one] * len(second) > ratio * hits[other] * len(first)
        if len(second) and is_larger and p < SURPRISING:
            shares = (
                f"{hits[one]:,} of {len(first):,} {one} pairs, but {hits[other]:,} of {len(second):,} {other} pairs"
            )
            return f"they hold {shares} (p = {p:.2g})"
    for name, part in (*parts.items(), ("held-out", union(split.valid, split.test))):
        n, (expected, most) = _count(pairs, part), _expected(pairs, part, split.train)
        improbable = poisson.sf(n - 1, most) < SURPRISING and n > 2 * most
        if improbable and (n >= MOST * len(pairs) or n >= NEARLY_ALL * len(part)):
            return f"they hold {n:,} of {len(part):,} {name} pairs, expected by chance {expected:,.1f} to {most:,.1f}"
    return ""


def check_scores(score: Callable[[Indices], Tensor], split: Split, *, by_chance: bool = False) -> Check:
    """Check that held-out pairs are ranked as by a model that never saw them.

    score: users (n,) -> scores of all items (n, n_items). A pair's rank is the share of the user's items in no
    part that score higher. Test pairs are compared with validation pairs, and both with train pairs. by_chance: as in
    `check_pairs`.
    """
    from scipy.stats import mannwhitneyu

    known = union(union(split.train, split.valid), split.test)
    parts = {"train": split.train, "validation": split.valid, "test": split.test}
    ranks = {name: _rank_pairs(score, part, known) for name, part in parts.items()}
    question = "held-out pairs are ranked as by a model that did not see them"
    ratios = {"validation": BETTER_BY_CHANCE if by_chance else BETTER, "train": BETTER}
    means = {name: float(values.mean()) if len(values) else float("nan") for name, values in ranks.items()}
    for one, other in (("test", "validation"), ("test", "train"), ("validation", "train")):
        if len(ranks[one]) and len(ranks[other]) and means[one] < ratios[other] * means[other]:
            p = float(mannwhitneyu(ranks[one], ranks[other], alternative="less").pvalue)
            if p < SURPRISING:
                detail = f"mean rank {means[one]:.3f} of {one} pairs, {means[other]:.3f} of {other} pairs (p = {p:.2g})"
                return Check(question, False, f"{one} pairs are ranked far above {other} pairs: {detail}")
    listed = ", ".join(f"{value:.3f} of {name}" for name, value in means.items())
    return Check(question, True, f"mean rank, 0 the best: {listed} pairs")


def _rank_pairs(score: Callable[[Indices], Tensor], pairs: Interactions, known: Interactions) -> Floats:
    """Return the ranks in [0, 1] of at most SAMPLED pairs; pairs of users without any other item are left out."""
    rows = np.sort(generator(0, "audited pairs").permutation(len(pairs))[:SAMPLED])
    ranks, matrix = np.full(len(rows), np.nan), known.matrix()
    for block in block_slices(len(rows), BLOCK):
        chosen, positives = pairs.users[rows[block]], pairs.items[rows[block]]
        scores = score(chosen).numpy()
        own = np.take_along_axis(scores, positives[:, None], axis=1)
        others = matrix[chosen].toarray() == 0
        above = ((scores > own) & others).sum(axis=1) + ((scores == own) & others).sum(axis=1) / 2
        ranks[block] = above / np.where(others.any(axis=1), others.sum(axis=1), np.nan)
    return np.asarray(ranks[~np.isnan(ranks)])


def _unobserved(users: Indices, items: Indices, train: Interactions) -> Interactions:
    present = items >= 0
    present &= ~train.contains(users, np.maximum(items, 0))
    return Interactions.of(users[present], items[present], n_users=train.n_users, n_items=train.n_items)


def _count(pairs: Interactions, part: Interactions) -> int:
    return int(part.contains(pairs.users, pairs.items).sum())


def _expected(pairs: Interactions, part: Interactions, train: Interactions) -> tuple[float, float]:
    """Return the smaller and the larger expected number of pairs of a part, by their users and by their items."""
    of_users = part.counts / np.maximum(train.n_items - train.counts, 1)
    of_items = part.item_counts / np.maximum(train.n_users - train.item_counts, 1)
    both = float(of_users[pairs.users].sum()), float(of_items[pairs.items].sum())
    return min(both), max(both)


def _find_too_few(pairs: Interactions, split: Split) -> str:
    from scipy.stats import poisson

    for name, part in (("test", split.test), ("validation", split.valid), ("held-out", union(split.valid, split.test))):
        n, (expected, _) = _count(pairs, part), _expected(pairs, part, split.train)
        p = float(poisson.cdf(n, expected))
        if n < FEW * expected and p < SURPRISING:
            return f"they hold {n:,} {name} pairs, expected by chance {expected:,.1f} or more (p = {p:.2g})"
    return ""


def _describe(pairs: Interactions, split: Split) -> str:
    n, expected = _count(pairs, held := union(split.valid, split.test)), _expected(pairs, held, split.train)
    return f"{n:,} of {len(pairs):,} distinct pairs are held out, expected by chance {expected[0]:,.1f} to {expected[1]:,.1f}"
