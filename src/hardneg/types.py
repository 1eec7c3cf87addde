"""Array aliases, and the values that packages exchange: samplers read `Embeddings`, never a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Indices = NDArray[np.int64]
"""User, item or pair indices, counted from 0."""
Floats = NDArray[np.floating[Any]]
"""Real numbers; docstrings give shape, unit and range."""
Flags = NDArray[np.bool_]
"""True or false."""

Pooling = Literal["mean", "sum", "concat", "mean-from-1"]
"""Aggregation of hop tables into one table; mean-from-1 leaves hop 0 out of the mean, unless there is no other."""

WeightPrecision = Literal["float32", "bfloat16", "nf4"]
"""Data type of a model's weights in this process: 32, 16 or 4 bits."""

HopsRead = Literal["none", "items", "both"]
"""Sides whose tables of hops above 0 a sampler reads, besides the pooled ones; with "concat" both sides, or none."""

Progress = Callable[[str, int, int], None]
"""Called with (description, done, total) by work that may take longer than two seconds."""


def block_slices(n: int, size: int) -> Iterator[slice]:
    """Divide 0..n into slices of `size`, the last one shorter."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def unit_rows(rows: Floats) -> Floats:
    """Normalize rows (n, size) to length 1, in their own float type; rows of zeros are unchanged."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, lengths.dtype.type(1)))


@dataclass(frozen=True)
class RequiredRows:
    """Rows of a backbone's tables that a step reads: distinct users (n,) and distinct items (m,), ascending.

    hops: sides whose tables of hops above 0 are read; the pooled tables and hop 0 are always available.
    """

    users: Indices
    items: Indices
    hops: HopsRead = "both"


@dataclass(frozen=True)
class Embeddings:
    """Embeddings of one step: a table per hop, never stacked, and their pooling.

    users: hops + 1 tensors of shape (n_users, size); hop 0 is the trained table. items: the same for items. pooled:
    pooled tables of users and items, if the backbone computed them. In a step that requires only some rows, the other
    rows of the last hop and of the pooled tables start with NaN. Hops that it does not read are empty.
    """

    users: tuple[Tensor, ...]
    items: tuple[Tensor, ...]
    pooling: Pooling
    pooled: tuple[Tensor, Tensor] | None = None

    @cached_property
    def final_users(self) -> Tensor:
        """Pooled users, (n_users, final size); computed once, with gradients even under no_grad."""
        return self.pooled[0] if self.pooled else _pool_with_gradients(self.users, self.pooling)

    @cached_property
    def final_items(self) -> Tensor:
        """Pooled items, (n_items, final size); as `final_users`."""
        return self.pooled[1] if self.pooled else _pool_with_gradients(self.items, self.pooling)


@dataclass(frozen=True)
class TrainingPass:
    """Tables of a training step, from a backbone with an own method for it.

    embeddings: read by the sampler and by observers. scored: read by the loss, if other tables than these. auxiliary: a
    loss of the backbone, which is added, or None. auxiliary_of: one more, a function of the sampled negatives.
    """

    embeddings: Embeddings
    scored: Embeddings | None = None
    auxiliary: Tensor | None = None
    auxiliary_of: Callable[[Negatives], Tensor] | None = None


def _pool_with_gradients(hops: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
    """Pool with gradients: the first caller may be a sampler under no_grad, but the loss uses the cached result too."""
    import torch

    with torch.enable_grad():
        return pool(hops, pooling)


def pool(hops: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
    """Merge one tensor (..., size) per hop into (..., size), or (..., hops x size) for "concat"."""
    if pooling == "concat":
        import torch

        return torch.cat(hops, dim=-1)
    hops = hops[1:] if pooling == "mean-from-1" and len(hops) > 1 else hops
    total = hops[0]
    for hop in hops[1:]:
        total = total + hop
    return total / len(hops) if pooling != "sum" and len(hops) > 1 else total


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """Return the rows of table (n, size) at index (any shape): (..., size).

    The gradient is sparse where the table accepts that: for trained tables, which the loop makes dense once per step,
    and for propagated ones. Otherwise every call allocates a gradient of the size of the table.
    """
    import torch.nn.functional as F

    return F.embedding(index, table, sparse=takes_sparse(table))


def takes_sparse(table: Tensor) -> bool:
    """Return True where the gradient of this table may be sparse."""
    return table.is_leaf or getattr(table.grad_fn, "takes_sparse", False)


@dataclass(frozen=True)
class Batch:
    """Training pairs of one step.

    rows: pair indices. users, positives: user and positive item of each pair. All have shape (batch,).
    """

    rows: Tensor
    users: Tensor
    positives: Tensor
    epoch: int
    step: int


@dataclass(frozen=True)
class Items:
    """Sampled negatives that are catalogue items.

    items: (batch, n). auxiliary: a loss of the sampler, or None. counters: name -> amount, summed over steps. totals:
    name -> (sum, count); their quotients over an epoch are metrics of the run, of split "negatives". weights: (batch, n)
    in [0, 1], of the negatives in the loss, None for 1. log_q: (batch, n), log of the probability of each item's draw, None
    if unknown; the loop sets it where the loss reads it.
    """

    items: Tensor
    auxiliary: Tensor | None = None
    counters: dict[str, float] = field(default_factory=dict)
    totals: dict[str, tuple[float, float]] = field(default_factory=dict)
    weights: Tensor | None = None
    log_q: Tensor | None = None


@dataclass(frozen=True)
class Vectors:
    """Sampled negatives that are mixed or synthesized embeddings.

    vectors: (batch, n, final size), scored against the pooled user. ego: (batch, n, size), the hop-0 part for the L2
    term. sources: (batch, n, parts), the items that each vector was mixed from besides the positive; -1 if a part is no
    item. parts: name of each part. auxiliary, counters, totals, weights: as in Items. positives: (batch, final size), scored
    instead of the pooled rows of the positive items, if given. hard: (batch, 1 or n, final size), without gradients, the
    hard negatives before they were mixed with an item, rows of NaN if there are none; for observers.
    """

    vectors: Tensor
    ego: Tensor
    sources: Tensor
    parts: tuple[str, ...]
    auxiliary: Tensor | None = None
    counters: dict[str, float] = field(default_factory=dict)
    totals: dict[str, tuple[float, float]] = field(default_factory=dict)
    positives: Tensor | None = None
    hard: Tensor | None = None
    weights: Tensor | None = None


Negatives = Items | Vectors


class Observer(Protocol):
    """Records sampled negatives without any effect on training (diagnostics)."""

    def reads_tables(self, step: int) -> bool:
        """Return True if it reads embeddings in this step of an epoch; the step then computes all rows."""
        ...

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
        """Record a step, after the update; must not modify anything.

        embeddings: those of the step, or None if `reads_tables` returned False.
        """
        ...

    def state(self) -> list[list[Any]]:
        """Return everything recorded, as plain data for a checkpoint."""
        ...

    def restore(self, state: list[list[Any]]) -> None:
        """Continue from what `state` returned."""
        ...
