"""The normalised user-item graph and its products with tables, by whichever kernel is fastest on this machine."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.models import kernel_selection
from hardneg.models.intrinsics import AHEAD
from hardneg.models.kernels import LARGEST, products, to_half
from hardneg.types import Floats, Indices

Storage = Literal["float32", "float16"]
"""How tables lie in memory while a product gathers their rows; sums are kept in 32 bits either way."""
Keep = Literal["numbers", "stored", "both", "nothing"]
"""What of a product is kept: the result in 32 bits, what the next product gathers from, both, or nothing besides."""
RANGE = 2.0**12
"""How much lower than need be a scale may get; float16 has normal numbers from 2^-14, and tables start at 2^13."""
NO_ROWS = np.empty((0, 0), np.float32)


@dataclass(frozen=True)
class StoredTable:
    """A table (rows, size) that a product will gather from: in 32 bits, or in 16 where these are gathered.

    halves: the bits of numbers x scale in float16, or None; where there are some, the numbers may have been left out.
    """

    numbers: Floats
    halves: NDArray[Any] | None = None
    scale: float = 1.0
    lowered: float = 1.0
    """By how much the scale may be lower than it need be, since it was last found from the numbers."""

    @property
    def size(self) -> int:
        """Columns."""
        return int(self.numbers.shape[1])


@dataclass(frozen=True)
class RowSubset:
    """Some rows of one side: which (ascending), and their places among all (n,), -1 for the others."""

    rows: Indices
    places: NDArray[np.int32]

    @classmethod
    def of(cls, rows: Indices, n: int) -> RowSubset:
        """Number them."""
        places = np.full(n, -1, np.int32)
        places[rows] = np.arange(len(rows), dtype=np.int32)
        return cls(rows, places)


@dataclass(frozen=True)
class Pool:
    """A table that products add to while they have a row at hand: pooled (some, size) += share x row, for some rows."""

    some: RowSubset
    pooled: Floats
    share: float


def normalised_adjacency(train: Interactions) -> csr_array:
    """D_u^-1/2 R D_i^-1/2, (n_users, n_items) float32, R being 1 where a pair was observed; rows sorted by item.

    The bipartite graph's matrix is this one above the diagonal and its transpose below.
    """
    user_weight, item_weight = (_inverse_root(degree) for degree in (train.counts, train.item_counts))
    weights = user_weight[train.users] * item_weight[train.items]
    return csr_array((weights.astype(np.float32), train.items, train.starts), shape=(train.n_users, train.n_items))


class Graph(nn.Module):
    """Propagation's one interface: products with the graph, forward and (it is symmetric) backward.

    users: the side whose rows are users, which multiplies a table of items; items: the other. On the CPU either compiled
    code of our own or torch's compressed rows (MKL); `hardneg.models.kernel_selection` chooses. On CUDA torch's.
    """

    def __init__(self, train: Interactions, *, storage: Storage = "float32") -> None:
        super().__init__()
        matrix = normalised_adjacency(train)
        self.storage = storage
        self.users, self.items = GraphSide(matrix), GraphSide(csr_array(matrix.T))

    def kernel(self, device: torch.device) -> str:
        """Who multiplies there: numba (our own), mkl or cuda (torch)."""
        if device.type != "cpu":
            return device.type
        return "numba" if self.own(device) else "mkl"

    def own(self, device: torch.device) -> bool:
        """Does our own kernel multiply there? It alone stores in 16 bits, computes some rows, and pools on the way."""
        return device.type == "cpu" and (self.storage == "float16" or kernel_selection.kernel() == "numba")

    def store(self, numbers: Floats) -> StoredTable:
        """Make a table ready for products of our own kernel."""
        return StoredTable(numbers, *to_half(numbers)) if self.storage == "float16" else StoredTable(numbers)

    def hop(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """One whole hop by whoever multiplies there: (n_users, size), (n_items, size) -> the same."""
        if not self.own(users.device):
            return self.plain(users, items)
        stored_users, stored_items = self.store(users.numpy()), self.store(items.numpy())
        made = self.users.product(stored_items), self.items.product(stored_users)
        return torch.from_numpy(made[0].numbers), torch.from_numpy(made[1].numbers)

    def plain(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """One hop by torch alone: (n_users, size), (n_items, size) -> the same, every row summed over its neighbours.

        Storage in 16 bits rounds as our own kernel's does, for a comparison; it saves nothing here.
        """
        if self.storage == "float16":
            users, items = _rounded(users), _rounded(items)
        return self.users.compressed(users.device) @ items, self.items.compressed(users.device) @ users


NO_POOL = Pool(RowSubset(np.empty(0, np.int64), np.empty(0, np.int32)), NO_ROWS, 0.0)


class GraphSide(nn.Module):
    """One direction of the graph as a matrix in compressed rows."""

    starts: Tensor
    neighbours: Tensor
    weights: Tensor

    def __init__(self, matrix: csr_array) -> None:
        super().__init__()
        self.shape = matrix.shape
        padded = np.concatenate([matrix.indices, np.zeros(AHEAD, np.int32)])  # the kernel looks so far ahead
        self.register_buffer("starts", torch.from_numpy(matrix.indptr.astype(np.int64)), persistent=False)
        self.register_buffer("neighbours", torch.from_numpy(padded.astype(np.int32)), persistent=False)
        self.register_buffer("weights", torch.from_numpy(matrix.data.astype(np.float32)), persistent=False)
        sums = np.asarray(matrix.sum(axis=1))
        self.growth = 2.0 ** math.ceil(math.log2(max(float(sums.max()), 1.0))) if len(sums) else 1.0
        self._all = np.arange(self.shape[0])
        self._torch: Tensor | None = None

    def product(
        self, table: StoredTable, rows: Indices | None = None, *, keep: Keep = "numbers", pool: Pool = NO_POOL
    ) -> StoredTable:
        """(columns, size) -> (rows, size), every row the weighted sum over its neighbours.

        rows: of these alone; the others are not computed and begin with NaN, so that whoever reads one finds out. In 16
        bits the largest number of a result is not known beforehand: its scale is that of the table, lowered by the most
        that a row's weights sum to; once that has used up float16's range, the scale is found from the numbers again. pool:
        added to on the way.
        """
        if table.halves is not None and keep in ("stored", "both") and table.lowered * self.growth > RANGE:
            numbers = self.product(table, rows, pool=pool).numbers
            return StoredTable(numbers, *to_half(numbers))
        halving, shape = table.halves is not None, (self.shape[0], table.size)
        has_numbers = keep in ("numbers", "both") or (keep == "stored" and not halving)
        numbers = np.empty(shape if has_numbers else (0, table.size), np.float32)
        halves = np.empty(shape, np.uint16) if halving and keep in ("stored", "both") else NO_ROWS
        if rows is not None and has_numbers:
            numbers[:, 0] = np.nan
        chosen, scale = self._all if rows is None else rows, table.scale / self.growth
        pooling = pool.pooled, pool.share, pool.some.places
        sparse = self.starts.numpy(), self.neighbours.numpy(), self.weights.numpy()
        gathered = table.numbers if table.halves is None else table.halves
        in_chunks(products, len(chosen), chosen, *sparse, gathered, 1 / table.scale, numbers, halves, scale, *pooling)
        return StoredTable(numbers, halves, scale, table.lowered * self.growth) if len(halves) else StoredTable(numbers)

    def __getstate__(self) -> dict[str, Any]:
        """Without torch's copy of the matrix, which cannot be copied and is made again when needed."""
        return self.__dict__ | {"_torch": None}

    def compressed(self, device: torch.device) -> Tensor:
        """The same matrix as a torch tensor in compressed rows, made once."""
        if self._torch is None or self._torch.device != device:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*[Ss]parse.*")  # torch calls its compressed rows "beta"
                parts = self.starts, self.neighbours[:-AHEAD].long(), self.weights
                self._torch = torch.sparse_csr_tensor(*parts, size=self.shape, device=device)
        return self._torch


def _rounded(table: Tensor) -> Tensor:
    """Rounded to float16 at the scale of `to_half`."""
    largest = table.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.exp2(LARGEST - torch.floor(torch.log2(largest)) - 1)
    return (table * scale).half().float() / scale


def _inverse_root(degrees: Indices) -> Floats:
    return np.asarray(np.divide(1.0, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0))
