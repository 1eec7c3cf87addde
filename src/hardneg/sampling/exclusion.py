"""The exclusion set of candidates: training pairs, and optionally suspects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions, union


@dataclass(frozen=True)
class Exclusion:
    """Pairs that are never drawn as candidates.

    unrestricted_users: number of users whose suspects are not excluded, because no candidate would remain.
    """

    pairs: Interactions
    unrestricted_users: int


def exclude_suspects(train: Interactions, suspects: Interactions) -> Exclusion:
    """Exclude training pairs and suspects, but no suspects of users who would have no candidate left."""
    both = union(train, suspects)
    full = both.counts >= train.n_items
    excluded = ~full[suspects.users]
    excluded_suspects = Interactions(suspects.users[excluded], suspects.items[excluded], train.n_users, train.n_items)
    unrestricted_users = int(np.count_nonzero(full & (train.counts < train.n_items)))
    return Exclusion(both if excluded.all() else union(train, excluded_suspects), unrestricted_users)
