"""The normalised user-item graph and its products with tables, by the fastest kernel on this machine."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csr_array
from torch import Tensor, nn

from hardneg.compiled import in_chunks
from hardneg.data.interactions import Interactions
from hardneg.errors import ConfigError
from hardneg.models.intrinsics import AHEAD
from hardneg.models.kernels import LARGEST, products, to_half
from hardneg.speeds import MeasuredLoop, Seconds, best_of_rounds
from hardneg.types import Floats, Indices

Storage = Literal["float32", "float16"]
"""Storage of tables whose rows a product reads; sums always have 32 bits."""
Keep = Literal["numbers", "stored", "both", "nothing"]
"""Outputs of a product: the result in 32 bits, the form that the next product reads, both, or only the pooled rows."""
MAX_SCALE_SLACK = 2.0**12
"""Maximum `scale_slack`; float16 has normal numbers from 2^-14, and the largest number of a table is at least 2^13."""
NO_ROWS = np.empty((0, 0), np.float32)
Kernel = Literal["numba", "mkl"]
KERNELS = ("numba", "mkl")
SIXTEEN_BITS = "numba, 16 bits"
VARIABLE = "HARDNEG_KERNEL"
"""Environment variable that overrides the choice."""
ROWS, ENTRIES, SIZE, ROUNDS = 50_000, 750_000, 64, 5
"""Size of the graph and the table that are measured, and number of measurements."""
NOTICEABLE = 1.1
"""Ratio of two times from which the slower one is named; below it, chance decides."""


@dataclass(frozen=True)
class StoredTable:
    """A table (rows, size) that a product reads: numbers in 32 bits, or their 16-bit form.

    halves: the bits of numbers x scale in float16, or None; with halves, numbers may be empty. scale_slack: factor by
    which the scale may be smaller than necessary, since it was last computed from the numbers.
    """

    numbers: Floats
    halves: NDArray[Any] | None = None
    scale: float = 1.0
    scale_slack: float = 1.0


@dataclass(frozen=True)
class PooledRows:
    """Pooled rows to which products add: pooled (n, size) += weight x row.

    positions: (all rows,) int32, the position of every row of a side in `pooled`, -1 for rows that are not pooled.
    """

    pooled: Floats
    weight: float
    positions: NDArray[np.int32]


NO_POOL = PooledRows(NO_ROWS, 0.0, np.empty(0, np.int32))


def normalised_adjacency(train: Interactions) -> csr_array:
    """Return D_u^-1/2 R D_i^-1/2, (n_users, n_items) float32; R is 1 for training pairs, rows are sorted by item.

    The matrix of the bipartite graph has this block above the diagonal and its transpose below.
    """
    user_weight, item_weight = (
        np.divide(1.0, np.sqrt(degrees), out=np.zeros(len(degrees)), where=degrees > 0)
        for degrees in (train.counts, train.item_counts)
    )
    weights = user_weight[train.users] * item_weight[train.items]
    return csr_array((weights.astype(np.float32), train.items, train.starts), shape=(train.n_users, train.n_items))


class Graph(nn.Module):
    """Products with the graph, for propagation forward and (it is symmetric) backward.

    users: the side whose rows are users, which multiplies a table of items; items: the other. On the CPU the kernel is
    our compiled one or torch's compressed rows (MKL), as `hardneg.models.graph` chooses; on CUDA torch's.
    """

    def __init__(self, train: Interactions, *, storage: Storage = "float32") -> None:
        super().__init__()
        matrix = normalised_adjacency(train)
        self.storage = storage
        self.users, self.items = GraphSide(matrix), GraphSide(csr_array(matrix.T))

    def kernel(self, device: torch.device) -> str:
        """Return the name of the kernel: numba (ours), mkl or cuda (torch)."""
        if device.type != "cpu":
            return device.type
        return "numba" if self.uses_numba(device) else "mkl"

    def speed_warning(self, device: torch.device) -> str:
        """Return a sentence if 16 bits are slower than 32 on this machine, else nothing."""
        if self.storage == "float32" or device.type != "cpu":
            return ""
        seconds = PRODUCT.seconds()
        ratio = seconds[SIXTEEN_BITS] / seconds[cpu_kernel()]
        if ratio < NOTICEABLE:
            return ""
        return (
            f"storage float16 takes {ratio:.1f} times as long as float32 on this machine, for a table of {ROWS:,} rows; "
            "leave it out"
        )

    def uses_numba(self, device: torch.device) -> bool:
        """Return True for our kernel. Only it stores 16 bits, computes selected rows, and pools in the same pass."""
        return device.type == "cpu" and (self.storage == "float16" or cpu_kernel() == "numba")

    def store(self, numbers: Floats) -> StoredTable:
        """Convert a table to the form that our kernel reads."""
        return StoredTable(numbers, *to_half(numbers)) if self.storage == "float16" else StoredTable(numbers)

    def hop(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Propagate by one hop: (n_users, size), (n_items, size) -> the same shapes."""
        if not self.uses_numba(users.device):
            return self.torch_hop(users, items)
        stored_users, stored_items = self.store(users.numpy()), self.store(items.numpy())
        next_users, next_items = self.users.product(stored_items), self.items.product(stored_users)
        return torch.from_numpy(next_users.numbers), torch.from_numpy(next_items.numbers)

    def torch_hop(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Propagate by one hop with torch. 16-bit storage only rounds as our kernel does; it saves no memory here."""
        if self.storage == "float16":
            users, items = _round_to_half(users), _round_to_half(items)
        return self.users.torch_matrix(users.device) @ items, self.items.torch_matrix(users.device) @ users


class GraphSide(nn.Module):
    """One direction of the graph as a matrix in compressed rows."""

    starts: Tensor
    neighbours: Tensor
    weights: Tensor

    def __init__(self, matrix: csr_array) -> None:
        super().__init__()
        self.shape = matrix.shape
        padded = np.concatenate([matrix.indices, np.zeros(AHEAD, np.int32)])  # the kernel prefetches this far ahead
        self.register_buffer("starts", torch.from_numpy(matrix.indptr.astype(np.int64)), persistent=False)
        self.register_buffer("neighbours", torch.from_numpy(padded.astype(np.int32)), persistent=False)
        self.register_buffer("weights", torch.from_numpy(matrix.data.astype(np.float32)), persistent=False)
        sums = np.asarray(matrix.sum(axis=1))
        self.growth = 2.0 ** math.ceil(math.log2(max(float(sums.max()), 1.0))) if len(sums) else 1.0
        self._all_rows = np.arange(self.shape[0])
        self._torch_matrix: Tensor | None = None

    def product(
        self, table: StoredTable, rows: Indices | None = None, *, keep: Keep = "numbers", pool: PooledRows = NO_POOL
    ) -> StoredTable:
        """Multiply (columns, size) -> (rows, size): every row is the weighted sum over its neighbours.

        rows: compute only these; the others start with NaN, so that reading one shows in the loss. pool: updated in the
        same pass. With 16 bits, the largest number of a result is not known in advance. Its scale is the table's, divided
        by the largest sum of weights of a row; when that has used up float16's range, it is computed from the numbers.
        """
        has_halves = table.halves is not None
        slack = table.scale_slack * self.growth
        if has_halves and keep in ("stored", "both") and slack > MAX_SCALE_SLACK:
            numbers = self.product(table, rows, pool=pool).numbers
            return StoredTable(numbers, *to_half(numbers))
        shape, scale = (self.shape[0], table.numbers.shape[1]), table.scale / self.growth
        has_numbers = keep in ("numbers", "both") or (keep == "stored" and not has_halves)
        numbers = np.empty(shape if has_numbers else (0, shape[1]), np.float32)
        halves = np.empty(shape, np.uint16) if has_halves and keep in ("stored", "both") else NO_ROWS
        if rows is not None and has_numbers:
            numbers[:, 0] = np.nan
        selected = self._all_rows if rows is None else rows
        matrix = self.starts.numpy(), self.neighbours.numpy(), self.weights.numpy()
        source = table.numbers if table.halves is None else table.halves
        pooled = pool.pooled, pool.weight, pool.positions
        outputs = numbers, halves, scale, pooled
        in_chunks(products, len(selected), selected, matrix, source, 1 / table.scale, *outputs)
        return StoredTable(numbers, halves, scale, slack) if len(halves) else StoredTable(numbers)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without torch's copy of the matrix, which cannot be pickled and is rebuilt when needed."""
        return self.__dict__ | {"_torch_matrix": None}

    def torch_matrix(self, device: torch.device) -> Tensor:
        """Return the matrix as a torch tensor in compressed rows, built once."""
        if self._torch_matrix is None or self._torch_matrix.device != device:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*[Ss]parse.*")  # torch calls its compressed rows "beta"
                parts = self.starts, self.neighbours[:-AHEAD].long(), self.weights
                self._torch_matrix = torch.sparse_csr_tensor(*parts, size=self.shape, device=device)
        return self._torch_matrix


def _round_to_half(table: Tensor) -> Tensor:
    """Round to float16 at the scale of `to_half`."""
    largest = table.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    scale = torch.exp2(LARGEST - torch.floor(torch.log2(largest)) - 1)
    return (table * scale).half().float() / scale


def cpu_kernel() -> Kernel:
    """Return the kernel for 32-bit products on the CPU with torch's current number of threads."""
    name = os.environ.get(VARIABLE)
    if name is None:
        return cast(Kernel, PRODUCT.fastest(*KERNELS))
    if name not in KERNELS:
        raise ConfigError(f"found {VARIABLE}={name!r}, expected one of {', '.join(KERNELS)}; or leave it unset")
    return cast(Kernel, name)


def measure_products() -> Seconds:
    """Return implementation -> seconds of one product of a random graph, the best of five alternating rounds."""
    rng = np.random.default_rng(0)
    entries = rng.integers(ROWS, size=(2, ENTRIES))
    matrix = sparse.coo_array((np.ones(ENTRIES, np.float32), tuple(entries)), shape=(ROWS, ROWS)).tocsr()
    side, table = GraphSide(matrix), rng.standard_normal((ROWS, SIZE), np.float32)
    torch_matrix, torch_table = side.torch_matrix(torch.device("cpu")), torch.from_numpy(table)
    calls: dict[str, Callable[[], object]] = {
        "numba": lambda: side.product(StoredTable(table)),
        "mkl": lambda: torch_matrix @ torch_table,
        SIXTEEN_BITS: lambda: side.product(StoredTable(table, *to_half(table))),
    }
    return best_of_rounds(calls, ROUNDS)


PRODUCT = MeasuredLoop("product of the graph with a table", (*KERNELS, SIXTEEN_BITS), measure_products)
