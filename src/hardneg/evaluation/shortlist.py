"""Exact ranking with preselection: bfloat16 products select the items that may be among the best, float32 ranks them.

Let T be a user's k-th best 16-bit score. Rounding to bfloat16 keeps the order of sums and changes each by at most 2^-8
of itself. Hence k items have a sum of at least T - 2^-8 |T| before rounding. A sum differs from the 32-bit score by at
most `error_bound`. The k-th best 32-bit score is therefore at least T - 2^-8 |T| - error_bound. Any item that reaches
it has a 16-bit score of at least T - 2^-8 |T| - 2 error_bound, rounded down. Exactly these items are scored again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.evaluation.kernels import LOWEST, NO_KEY, items_of, kth_best, order_keys, rescore
from hardneg.types import Floats, Indices

UNIT_16, UNIT_32 = 2.0**-8, 2.0**-24
"""Largest relative error of rounding to bfloat16 and to float32."""


@dataclass(frozen=True)
class RoundedTable:
    """A table (n, size), its bfloat16 version, and the norms of the rows, the rounded rows and the rounding errors."""

    table: Tensor
    table_16: Tensor
    norms: Floats
    norms_16: Floats
    norms_error: Floats

    @classmethod
    def of(cls, table: Tensor) -> RoundedTable:
        """Round a table and compute the norms in float64."""
        table_16 = table.bfloat16()
        norms = (part.double().norm(dim=1).numpy() for part in (table, table_16, table.double() - table_16.double()))
        return cls(table.contiguous(), table_16, *norms)


@dataclass(frozen=True)
class Shortlist:
    """Ranking by the inner products of two rounded tables. columns: items in bfloat16, (size, n_items)."""

    users: RoundedTable
    items: RoundedTable
    columns: Tensor

    @classmethod
    def of(cls, users: Tensor, items: Tensor) -> Shortlist:
        """Round pooled users (n_users, size) and items (n_items, size)."""
        rounded = RoundedTable.of(items)
        return cls(RoundedTable.of(users), rounded, rounded.table_16.T.contiguous())

    def top_items(self, block: Indices, seen: Interactions, k: int) -> Indices:
        """Return the k best unseen items of each user (block, k), best first, -1 past the last."""
        k, chosen = min(k, len(self.items.table)), torch.from_numpy(block)
        keys = (self.users.table_16[chosen] @ self.columns).view(torch.int16).numpy()
        order_keys(keys)
        last, best = np.empty(len(block), np.int16), np.full((len(block), k), NO_KEY)
        in_chunks(kth_best, len(block), keys, block, seen.starts, seen.items, k, last)
        kth_value = _key_values(last)
        slack = 2 * error_bound(self.users, self.items)[block]
        bounds = _keys_at_or_below(kth_value - UNIT_16 * abs(kth_value) - slack)
        bounds[last == LOWEST] = LOWEST
        queries, table = self.users.table[chosen].numpy(), self.items.table.numpy()
        in_chunks(rescore, len(block), keys, bounds, queries, table, best)
        return items_of(best)


SMALLEST = 2.0**-120
"""Bound of the error of a processor that flushes subnormal numbers to zero."""


def error_bound(users: RoundedTable, items: RoundedTable) -> Floats:
    """Return (n_users,) bounds of the difference between a sum of rounded products and the float32 score, over all items.

    |u.v - u'.v'| <= |u| |v - v'| + |u - u'| |v'| for the rounded u', v' (Cauchy-Schwarz). Adding `size` products in
    float32 has an error of at most size x 2^-24 |u| |v| on either side; twice that covers any order of summation.
    """
    size = items.table.shape[1]
    rounded = users.norms * items.norms_error.max() + users.norms_error * items.norms_16.max()
    summed = 2 * size * UNIT_32 * (users.norms * items.norms.max() + users.norms_16 * items.norms_16.max())
    return np.asarray(rounded + summed + size * SMALLEST)


def _key_values(keys: NDArray[np.int16]) -> Floats:
    """Return the numbers that keys of `order_keys` stand for."""
    bits = keys ^ ((keys >> 15) & 0x7FFF)
    return np.asarray((bits.astype(np.int32) << 16).view(np.float32).astype(float))


def _keys_at_or_below(numbers: Floats) -> NDArray[np.int16]:
    """Return the key of the largest bfloat16 that is not above each number."""
    near = numbers.astype(np.float32)
    bits = np.where(near > numbers, np.nextafter(near, np.float32(-np.inf)), near).view(np.int32)
    size = bits & 0x7FFFFFFF
    below_zero = -1 - ((size + 0xFFFF) >> 16)  # rounded up in size
    keys = np.where(bits < 0, below_zero, size >> 16)
    return np.asarray(np.where(keys == 0, -1, keys).astype(np.int16))  # -1 is the key of -0.0, which equals 0.0
