"""Groups of held-out pairs, by the popularity of the item and by the history of the user; train pairs define both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hardneg.data.interactions import Interactions
from hardneg.types import Indices

N_GROUPS = 3
"""Number of groups; there are fewer where many values are equal."""


@dataclass(frozen=True)
class Group:
    """Held-out pairs whose item or user has between `low` and `high` train pairs, both included."""

    low: int
    high: int
    pairs: Interactions

    @property
    def name(self) -> str:
        """The range of train pairs, such as "5 to 12 train pairs"."""
        number = f"{self.low:,}" if self.low == self.high else f"{self.low:,} to {self.high:,}"
        return f"{number} train pair{'s' * (self.high != 1)}"


def group_by_popularity(train: Interactions, held_out: Interactions, n: int = N_GROUPS) -> list[Group]:
    """Divide held-out pairs by the train pairs of their item, from the least popular items on.

    The items of each group have about an equal share of all train pairs. Metrics of a group count its pairs as relevant.
    """
    counts = train.item_counts
    return _group(counts, np.sort(np.repeat(counts, counts)), held_out, held_out.items, n)


def group_by_item_share(train: Interactions, held_out: Interactions, shares: Sequence[float]) -> list[Group]:
    """Divide held-out pairs by the train pairs of their item, as HNLMRec does: shares .8 and .95 give the least popular 80 %
    of the items, the next 15 % and the most popular 5 %. Items of equal popularity are in one group.
    """
    counts = train.item_counts
    ordered = np.sort(counts)
    last = np.ceil(np.asarray([*shares, 1.0]) * len(ordered)).astype(np.int64) - 1
    return _group_up_to(counts, np.unique(ordered[np.maximum(last, 0)]), held_out, held_out.items)


def group_by_history(train: Interactions, held_out: Interactions, n: int = N_GROUPS) -> list[Group]:
    """Divide held-out pairs by the train pairs of their user, from the shortest history on.

    Each group has about as many users with held-out pairs; users of equal history are in one group.
    """
    counts = train.counts
    return _group(counts, np.sort(counts[held_out.counts > 0]), held_out, held_out.users, n)


def _group(counts: Indices, spread: Indices, held_out: Interactions, owners: Indices, n: int) -> list[Group]:
    """Divide pairs by the count of their owner (item or user). spread: sorted counts whose quantiles are the limits."""
    if not len(held_out):
        return []
    upper = np.unique([*spread[[len(spread) * part // n - 1 for part in range(1, n)]], counts.max()])
    return _group_up_to(counts, upper, held_out, owners)


def _group_up_to(counts: Indices, upper: Indices, held_out: Interactions, owners: Indices) -> list[Group]:
    """Divide pairs by the count of their owner. upper: largest count of each group, in order."""
    numbers, groups = np.searchsorted(upper, counts[owners]), []
    for number in np.unique(numbers):
        pairs = numbers == number
        own = Interactions(held_out.users[pairs], held_out.items[pairs], held_out.n_users, held_out.n_items)
        low = 0 if number == 0 else int(upper[number - 1]) + 1
        groups.append(Group(max(low, int(counts.min())), int(upper[number]), own))
    return groups
