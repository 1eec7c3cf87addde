"""Random noise on the tables of hops, and dropout: a number is a function of seed, view, hop, row, epoch and step alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from hardneg.compiled import in_chunks
from hardneg.models.graph import NO_POOL, PooledRows
from hardneg.models.kernels import add_noise, draw_factors
from hardneg.random import Stream
from hardneg.types import Batch, Indices

SideName = Literal["users", "items"]
"""Side of the graph."""


@dataclass(frozen=True)
class HopNoise:
    """Noise of one view in one step: row e becomes e + size x sign(e) x u / ||u||, u uniform in (0, 1) (Yu et al., 2022).

    size: length of the noise of a row. view: name of the view; views differ in their noise.
    """

    size: float
    seed: int
    view: str
    batch: Batch

    def add_to(
        self, table: Tensor, side: SideName, hop: int, rows: Indices | None = None, pool: PooledRows = NO_POOL
    ) -> None:
        """Add the noise to rows of a hop table (n, embedding size), and its share to their pooled rows; None for all."""
        stream = Stream(self.seed, f"noise of {side}, hop {hop}, {self.view}", self.batch.epoch)
        counter = stream.key, self.batch.epoch, self.batch.step
        rows = np.arange(len(table)) if rows is None else rows
        pooled = pool.pooled, pool.weight, pool.positions
        if table.device.type == "cpu":
            numbers = table.numpy()
            in_chunks(add_noise, len(rows), rows, counter, self.size, numbers, numbers, pooled)
            return
        noise = np.zeros(tuple(table.shape), np.float32)
        in_chunks(add_noise, len(rows), rows, counter, self.size, np.ones_like(noise), noise, pooled)
        table.add_(torch.from_numpy(noise).to(table.device) * table.sign())


@dataclass(frozen=True)
class MessageDropout:
    """Dropout of single numbers of hop tables in one step. share: of the numbers that become 0, in [0, 1)."""

    share: float
    seed: int
    batch: Batch

    def factors(self, rows: Tensor, size: int, side: SideName, hop: int) -> Tensor:
        """Return factors (len(rows), size) of 0 or 1 / (1 - share) for some rows of a hop table."""
        index = rows.cpu().numpy()
        factors = np.empty((len(index), size), np.float32)
        in_chunks(draw_factors, len(index), index, self.counter(side, hop), self.share, factors)
        return torch.from_numpy(factors)

    def counter(self, side: SideName, hop: int) -> tuple[np.uint64, int, int]:
        """Return key, epoch and step, from which the factors of a row follow."""
        stream = Stream(self.seed, f"dropout of {side}, hop {hop}", self.batch.epoch)
        return stream.key, self.batch.epoch, self.batch.step
