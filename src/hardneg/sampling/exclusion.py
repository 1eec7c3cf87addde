"""What candidates are drawn outside of: observed train pairs, and suspects where these are left out too."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions, union


@dataclass(frozen=True)
class Exclusion:
    """pairs: nobody is served these. left_alone: users for whom train pairs alone are excluded, because with the
    suspects no candidate would be left."""

    pairs: Interactions
    unrestricted_users: int


def exclude_suspects(train: Interactions, suspects: Interactions) -> Exclusion:
    """Exclude train pairs and suspects; a user who would be left with no candidate keeps train pairs alone, counted."""
    both = union(train, suspects)
    full = both.counts >= train.n_items
    kept = ~full[suspects.users]
    fewer = Interactions(suspects.users[kept], suspects.items[kept], train.n_users, train.n_items)
    unrestricted_users = int(np.count_nonzero(full & (train.counts < train.n_items)))
    return Exclusion(both if kept.all() else union(train, fewer), unrestricted_users)
