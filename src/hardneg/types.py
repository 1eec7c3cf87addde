"""Array aliases and the values that pass between rooms: a sampler reads `Embeddings` and never a model."""

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
"""Dense user, item or row numbers, counted from 0."""
Floats = NDArray[np.floating[Any]]
"""Real numbers; the docstring at hand gives shape, unit and range."""
Flags = NDArray[np.bool_]
"""True or false."""

Pooling = Literal["mean", "sum", "concat"]
"""How hop tables become one table."""

HopsRead = Literal["none", "items", "both"]
"""Whose tables of hops above 0 a sampler reads, besides the pooled ones (with pooling "concat" all are there anyway)."""

Progress = Callable[[str, int, int], None]
"""Called with (what is being done, done, total) by work that may take longer than two seconds."""


def block_slices(n: int, size: int) -> Iterator[slice]:
    """0..n in slices of `size`, the last one shorter: what is computed at a time."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def unit_rows(rows: Floats) -> Floats:
    """Rows (n, size) at length 1, in their own float type; a row of zeros stays one, however short others are."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, lengths.dtype.type(1)))


@dataclass(frozen=True)
class RequiredRows:
    """What a step will read of a backbone's tables: distinct users (n,) and distinct items (m,), ascending.

    hops: of which sides tables of hops above 0 are read; the pooled tables and hop 0 always may be.
    """

    users: Indices
    items: Indices
    hops: HopsRead = "both"


@dataclass(frozen=True)
class Embeddings:
    """What a backbone computed in this step: one table a hop, never stacked, and how they are pooled.

    users: hops + 1 tensors of shape (n_users, size); hop 0 is the trained table. items: the same for items. pooled:
    the pooled tables of users and items where the backbone made them itself. Where a step wanted some rows alone, the
    other rows of the last hop and of the pooled tables begin with NaN, and hops that it does not read are empty.
    """

    users: tuple[Tensor, ...]
    items: tuple[Tensor, ...]
    pooling: Pooling
    pooled: tuple[Tensor, Tensor] | None = None

    @cached_property
    def final_users(self) -> Tensor:
        """(n_users, final size); pooled once a step, with gradients even when first asked for without."""
        return self.pooled[0] if self.pooled else _pool_with_gradients(self.users, self.pooling)

    @cached_property
    def final_items(self) -> Tensor:
        """(n_items, final size); as `final_users`."""
        return self.pooled[1] if self.pooled else _pool_with_gradients(self.items, self.pooling)


def _pool_with_gradients(hops: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
    """A sampler that chooses under no_grad may ask first; what is cached then must still carry the loss's gradient."""
    import torch

    with torch.enable_grad():
        return pool(hops, pooling)


def pool(hops: tuple[Tensor, ...], pooling: Pooling) -> Tensor:
    """Merge tensors of one shape (..., size), one a hop, into (..., size), or (..., hops x size) for "concat"."""
    if pooling == "concat":
        import torch

        return torch.cat(hops, dim=-1)
    total = hops[0]
    for hop in hops[1:]:
        total = total + hop
    return total / len(hops) if pooling == "mean" and len(hops) > 1 else total


@dataclass(frozen=True)
class Batch:
    """Train pairs of one step: their row numbers (batch,), users (batch,), positive items (batch,)."""

    rows: Tensor
    users: Tensor
    positives: Tensor
    epoch: int
    step: int


@dataclass(frozen=True)
class Items:
    """Negatives that are catalogue items.

    items: (batch, n). auxiliary: a loss of the sampler's own, or None. counters: name -> amount, summed over steps.
    totals: name -> (sum, count); their quotients over an epoch stand in a run's metrics, as of split "negatives".
    """

    items: Tensor
    auxiliary: Tensor | None = None
    counters: dict[str, float] = field(default_factory=dict)
    totals: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Vectors:
    """Negatives that were mixed or synthesised.

    vectors: (batch, n, final size), scored against the pooled user. ego: (batch, n, size), the hop-0 part that the L2
    term sees. sources: (batch, n, parts), the items that each vector was made of (the positive apart), -1 where a
    part is no item; parts: a name for each. auxiliary, counters, totals: as in Items. positives: (batch, final size),
    scored in the place of the positive items' pooled rows where given. hard: (batch, 1 or n, final size), without
    gradients, what was made before it was mixed with an item, a row of NaN where nothing was; for observers.
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


Negatives = Items | Vectors


class Observer(Protocol):
    """Watches what a sampler serves and feeds nothing back (diagnostics)."""

    def reads_tables(self, step: int) -> bool:
        """Does it read embeddings in this step of an epoch? Then the step computes all of them."""
        ...

    def see(self, batch: Batch, negatives: Negatives, embeddings: Embeddings | None) -> None:
        """Called once a step, after the update; must leave everything as it is.

        embeddings: those of the step, or None where `reads_tables` said no.
        """
        ...

    def state(self) -> list[list[Any]]:
        """What was seen so far, as plain data for a checkpoint."""
        ...

    def restore(self, state: list[list[Any]]) -> None:
        """Go on from what `state` returned."""
        ...
