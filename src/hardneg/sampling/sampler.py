"""The seam of every sampler, and the small things that samplers share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.errors import DataError
from hardneg.random import Stream
from hardneg.sampling.item_neighbours import ItemNeighbours
from hardneg.sampling.kernels import best_candidates
from hardneg.sampling.mined import MinedNegatives
from hardneg.trees import Trees
from hardneg.types import Batch, Embeddings, HopsRead, Negatives


class NegativeSampler(Protocol):
    """Chooses or makes the negatives of a batch.

    A sampler with parameters of its own is an nn.Module; the loop trains them with the backbone's.
    """

    @property
    def n_candidates(self) -> int:
        """How many candidates per pair the loop draws for it."""
        ...

    @property
    def hops_read(self) -> HopsRead:
        """Whose tables of hops above 0 it reads; a backbone need not keep the others."""
        ...

    def sample(self, batch: Batch, embeddings: Embeddings, candidates: Tensor, stream: Stream) -> Negatives:
        """Return negatives for every pair of the batch.

        embeddings: right for the batch's users and for `items_read`; other rows may be missing (NaN). candidates:
        (batch, n_candidates) items outside the exclusion set. stream: the pairs' own numbers, `stream.uniform`.
        """
        ...


@runtime_checkable
class ReadsOtherItems(Protocol):
    """A sampler that reads the pooled rows of items besides the positives and the candidates."""

    def other_items(self, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
        """These items, of any shape; arguments as `sample` will get them."""
        ...


def items_read(sampler: NegativeSampler, batch: Batch, candidates: Tensor, stream: Stream) -> Tensor:
    """(n,) items whose pooled rows a step with this sampler reads, repeats included."""
    parts = [batch.positives, candidates.flatten()]
    if isinstance(sampler, ReadsOtherItems):
        parts.append(sampler.other_items(batch, candidates, stream).flatten())
    return torch.cat(parts)


@dataclass(frozen=True)
class SamplerInputs:
    """What a sampler may be built from besides its options.

    final_size: length of a pooled embedding. mined: negatives from text, or None. seed: for parameters. neighbours: of
    every item, or None. trees: the structural and the semantic one, or None.
    """

    final_size: int
    mined: MinedNegatives | None
    seed: int
    neighbours: ItemNeighbours | None = None
    trees: Trees | None = None


def gather_rows(table: Tensor, index: Tensor) -> Tensor:
    """table (n, size) at index (any shape) -> (..., size).

    The gradient goes back as sparse rows where the table takes them: trained tables (the loop makes them dense once a
    step) and what propagation made. Else it is a table of its own for every call.
    """
    return F.embedding(index, table, sparse=takes_sparse(table))


def require_known_rows(index: Tensor, table: Tensor) -> None:
    """Compiled code trusts its indices, so they are looked at first."""
    if index.numel() and not 0 <= int(index.min()) <= int(index.max()) < len(table):
        raise DataError(
            f"found row {int(index.max())} of a table of {len(table)} rows; a sampler's `hops_read` must name the hops "
            "that it reads"
        )


def takes_sparse(table: Tensor) -> bool:
    """May a gradient of this table come as sparse rows?"""
    return table.is_leaf or getattr(table.grad_fn, "takes_sparse", False)


def hardest(queries: Tensor, table: Tensor, candidates: Tensor) -> Tensor:
    """Each pair's candidate whose row has the largest inner product with its query, the first of equals: (batch,).

    A row that holds NaN, which is how a step marks what it left out, is taken at once, so that the loss shows it.

    queries (batch, size), table (n, size), candidates (batch, n). The choice carries no gradient, and no
    (batch, n, size) tensor is made on the CPU.
    """
    queries, table = queries.detach(), table.detach()
    require_known_rows(candidates, table)
    if queries.device.type != "cpu":
        best = scores(queries, F.embedding(candidates, table)).argmax(dim=1, keepdim=True)
        return candidates.gather(1, best).squeeze(1)
    chosen = np.empty(len(queries), np.int64)
    arrays = (tensor.contiguous().numpy() for tensor in (queries, table, candidates))
    in_chunks(best_candidates, len(queries), *arrays, chosen)
    return torch.from_numpy(chosen)


def scores(users: Tensor, items: Tensor) -> Tensor:
    """Inner products: users (batch, size), items (batch, n, size) -> (batch, n)."""
    return (items * users.unsqueeze(1)).sum(dim=2)
