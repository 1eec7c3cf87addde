"""Leak checks of a split: held-out pairs are redrawn, everything is built again, and hashes are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from hardneg.data import columns as c
from hardneg.data.interactions import Interactions
from hardneg.data.split import Split
from hardneg.random import generator

BLOCK = 512
"""Users redrawn at once."""


@dataclass(frozen=True)
class Check:
    """A check of the audit: the property checked, the result, and the numbers behind it."""

    question: str
    passed: bool
    detail: str


def check_split(split: Split) -> list[Check]:
    """Check that the parts are disjoint and that all reviews belong to train pairs."""
    checks = []
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = int(getattr(split, one).contains(getattr(split, other).users, getattr(split, other).items).sum())
        checks.append(Check(f"{one} and {other} share no pair", shared == 0, f"{shared:,} shared"))
    users, items = (split.reviews[name].to_numpy() for name in (c.USER, c.ITEM))
    n_outside = int((~split.train.contains(users, items)).sum())
    checks.append(Check("every stored review belongs to a train pair", n_outside == 0, f"{n_outside:,} do not"))
    return checks


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


def redraw(split: Split, part: Literal["valid", "test"], *, seed: int) -> Split:
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
