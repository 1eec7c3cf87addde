"""Does anything held out reach what is made? Held-out pairs are redrawn, everything is made again, hashes compared."""

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
    """One question of the audit and its answer."""

    question: str
    passed: bool
    detail: str


def check_split(split: Split) -> list[Check]:
    """What can be seen without making anything: parts that overlap, reviews of pairs that are not in train."""
    checks = []
    for one, other in (("train", "valid"), ("train", "test"), ("valid", "test")):
        shared = int(getattr(split, one).contains(getattr(split, other).users, getattr(split, other).items).sum())
        checks.append(Check(f"{one} and {other} share no pair", shared == 0, f"{shared:,} shared"))
    users, items = (split.reviews[name].to_numpy() for name in (c.USER, c.ITEM))
    foreign = int((~split.train.contains(users, items)).sum())
    checks.append(Check("every stored review belongs to a train pair", foreign == 0, f"{foreign:,} do not"))
    return checks


def check_mask(masked: Interactions, train: Interactions) -> Check:
    """Evaluation must mask the observed train pairs, and nothing that a method added."""
    added = int((~train.contains(masked.users, masked.items)).sum())
    lost = int((~masked.contains(train.users, train.items)).sum())
    return Check("the mask is the observed train pairs", added == lost == 0, f"{added:,} added, {lost:,} missing")


def check_same(what: str, before: Mapping[str, str], after: Mapping[str, str]) -> Check:
    """Every artefact has the hash it had before the redraw."""
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    detail = f"{len(before)} files compared" if not changed else f"changed: {', '.join(changed)}"
    return Check(what, not changed and bool(before), detail)


def redraw(split: Split, part: Literal["valid", "test"], *, seed: int) -> Split:
    """Give every user as many other held-out items as before: none of them in train, none held out in this part.

    Where a user has too few free items, fewer are drawn.
    """
    old, train = getattr(split, part), split.train
    rng = generator(seed, f"redraw {part}")
    users, items = [], []
    for start in range(0, old.n_users, BLOCK):
        block = np.arange(start, min(start + BLOCK, old.n_users))
        taken = train.matrix()[block].toarray() + old.matrix()[block].toarray() > 0
        # The smallest random keys over a user's free items: a draw without repeats for many users at once.
        order = np.where(taken, np.inf, rng.random(taken.shape)).argsort(axis=1)
        amount = np.minimum(old.counts[block], (~taken).sum(axis=1))
        row, place = np.nonzero(np.arange(old.n_items) < amount[:, None])
        users.append(block[row])
        items.append(order[row, place])
    return split.with_part(part, np.concatenate(users), np.concatenate(items))
