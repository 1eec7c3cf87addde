"""Exact ranking by way of 16 bits: a cheap product finds who may be among the best, 32 bits decide.

Let T be a user's k-th best 16-bit score. Rounding a sum to bfloat16 keeps order and moves it by 2^-8 of itself at most, so
k items have a sum of at least T - 2^-8 |T| before it is rounded. A sum is off the 32-bit score by `error_bound` at most.
So the k-th best 32-bit score is T - 2^-8 |T| - error_bound or more, and whoever reaches that has a 16-bit score of at least
T - 2^-8 |T| - 2 error_bound, rounded down. All of these are scored again; nobody else can matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.evaluation.kernels import LOWEST, last_kept, order_keys, rescore
from hardneg.types import Floats, Indices

UNIT_16, UNIT_32 = 2.0**-8, 2.0**-24
"""Largest relative error of rounding to bfloat16 and to float32."""


@dataclass(frozen=True)
class RoundedTable:
    """A pooled table (n, size), the same in bfloat16, and three norms of every row: its own, rounded, of the difference."""

    table: Tensor
    table_16: Tensor
    norms: Floats
    norms_16: Floats
    apart: Floats

    @classmethod
    def of(cls, table: Tensor) -> RoundedTable:
        """Round, and measure in double precision."""
        table_16 = table.bfloat16()
        norms = (part.double().norm(dim=1).numpy() for part in (table, table_16, table.double() - table_16.double()))
        return cls(table.contiguous(), table_16, *norms)


@dataclass(frozen=True)
class Shortlist:
    """Ranks by the inner products of two rounded tables. columns: the items in bfloat16, (size, n_items)."""

    users: RoundedTable
    items: RoundedTable
    columns: Tensor

    @classmethod
    def of(cls, users: Tensor, items: Tensor) -> Shortlist:
        """Round pooled users (n_users, size) and items (n_items, size) once."""
        rounded = RoundedTable.of(items)
        return cls(RoundedTable.of(users), rounded, rounded.table_16.T.contiguous())

    def top_items(self, block: Indices, seen: Interactions, k: int) -> Indices:
        """The k best items that each user of the block has not seen, best first: (block, k), -1 where there are fewer."""
        k, chosen = min(k, len(self.items.table)), torch.from_numpy(block)
        keys = (self.users.table_16[chosen] @ self.columns).view(torch.int16).numpy()
        order_keys(keys)
        last, best = np.empty(len(block), np.int16), np.empty((len(block), k), np.int64)
        in_chunks(last_kept, len(block), keys, block, seen.starts, seen.items, k, last)
        worst = _numbers(last)
        floors = _keys_at_or_below(worst - UNIT_16 * abs(worst) - 2 * error_bound(self.users, self.items)[block])
        floors[last == LOWEST] = LOWEST
        queries, table = self.users.table[chosen].numpy(), self.items.table.numpy()
        in_chunks(rescore, len(block), keys, floors, queries, table, best)
        return best


SMALLEST = 2.0**-120
"""More than what is lost where a processor takes the smallest numbers for zero."""


def error_bound(users: RoundedTable, items: RoundedTable) -> Floats:
    """(n_users,): the most by which a user's sum of rounded products is off the 32-bit score, over all items.

    |u.v - u'.v'| <= |u| |v - v'| + |u - u'| |v'| for the rounded u', v' (Cauchy and Schwarz), and adding `size` products
    in 32 bits errs by at most size x 2^-24 |u| |v| on either side; twice that is taken, for sums in whatever order.
    """
    size = items.table.shape[1]
    rounded = users.norms * items.apart.max() + users.apart * items.norms_16.max()
    summed = 2 * size * UNIT_32 * (users.norms * items.norms.max() + users.norms_16 * items.norms_16.max())
    return np.asarray(rounded + summed + size * SMALLEST)


def _numbers(keys: NDArray[np.int16]) -> Floats:
    """What the keys of `order_keys` mean."""
    bits = keys ^ ((keys >> 15) & 0x7FFF)
    return np.asarray((bits.astype(np.int32) << 16).view(np.float32).astype(float))


def _keys_at_or_below(numbers: Floats) -> NDArray[np.int16]:
    """The key of the next bfloat16 that is not above each number."""
    near = numbers.astype(np.float32)
    bits = np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).view(np.int32)
    size = bits & 0x7FFFFFFF
    below_zero = -1 - ((size + 0xFFFF) >> 16)  # rounded up in size
    keys = np.where(bits < 0, below_zero, size >> 16)
    return np.asarray(np.where(keys == 0, -1, keys).astype(np.int16))  # -1 is the key of -0.0, which equals 0.0
