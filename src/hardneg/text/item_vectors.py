"""Vectors of items that are brought as a file, in place of encoded texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import polars as pl

from hardneg.artifacts import file_hash
from hardneg.data import columns as c
from hardneg.data.dataset import read_parquet
from hardneg.data.ids import spell_ids
from hardneg.errors import DataError
from hardneg.storage import read_array
from hardneg.types import Floats, unit_rows

OWN = "own vectors"
"""Name in settings, notes and tables."""
EXPECTED = "expected .npy with a row for each item of the split's items.parquet, in its order, or .parquet with item_id"


@dataclass(frozen=True)
class ItemVectors:
    """A file of item vectors, which takes the place of a text encoder.

    file: .npy, (n_items, size), in the order of the split's items.parquet; or Parquet with item_id and one column of
    lists, or several columns of numbers.
    """

    file: Path

    @property
    def name(self) -> str:
        """Name for tables and manifests."""
        return OWN

    @cached_property
    def identity(self) -> str:
        """Hash of the file. Raises DataError where there is no such file."""
        if not self.file.is_file():
            raise DataError(f"{self.file} does not exist, {EXPECTED}; check the path")
        return file_hash(self.file)

    def read(self, item_ids: Sequence[str]) -> Floats:
        """Return (n_items, size) float32 rows of unit length, in the order of the ids.

        A row is NaN where the table has no such item, or where all its numbers are 0. Raises DataError for another
        number of rows, for numbers that are not finite, and where no item is found.
        """
        if self.file.suffix == ".npy":
            vectors = self._read_npy(len(item_ids))
        elif self.file.suffix == ".parquet":
            vectors = self._read_parquet(item_ids)
        else:
            raise DataError(f"found {self.file}, {EXPECTED}; save the vectors as one of them")
        vectors = unit_rows(vectors).astype(np.float32)
        vectors[~vectors.any(axis=1)] = np.nan
        return vectors

    def _read_npy(self, n_items: int) -> Floats:
        rows = np.asarray(read_array(self.file))
        if rows.ndim != 2 or rows.shape[1] < 1 or len(rows) != n_items or rows.dtype.kind not in "fiu":
            shape = " x ".join(map(str, rows.shape))
            raise DataError(
                f"{self.file} has {rows.dtype} numbers of shape {shape}, expected {n_items} x size, a row for each item of "
                "the split's items.parquet, in its order; save them so, or as Parquet with item_id"
            )
        vectors = rows.astype(np.float64)
        self._require_finite(vectors, lambda row: f"row {row}")
        return vectors

    def _read_parquet(self, item_ids: Sequence[str]) -> Floats:
        table = read_parquet(self.file)
        if c.ITEM_ID not in table.columns or table.width < 2 or not len(table):
            found = f"{len(table):,} rows and the columns {', '.join(table.columns)[:200]}"
            raise DataError(f"{self.file} has {found}, expected item_id and vectors; give it such a table")
        ids = table.select(spell_ids(c.ITEM_ID, table.schema[c.ITEM_ID])).to_series()
        if (repeated := ids.filter(ids.is_duplicated())).len():
            raise DataError(f"{self.file} has item {repeated[0]!r} twice, expected each item once; remove one")
        vectors = self._stack(table.drop(c.ITEM_ID))
        self._require_finite(vectors, lambda row: f"item {ids[row]!r}")
        rows = {name: row for row, name in enumerate(ids.to_list())}
        places = np.array([rows.get(name, -1) for name in item_ids])
        if (places < 0).all():
            raise DataError(
                f"{self.file} has no item of the split, whose first is {item_ids[0]!r}, found {ids[0]!r}; give the ids of "
                "the source file"
            )
        return np.where(places[:, None] >= 0, vectors[places], 0.0)

    def _stack(self, columns: pl.DataFrame) -> Floats:
        """Return the rows of one column of lists, or of several columns of numbers; NaN for what is missing."""
        dtypes = columns.dtypes
        inner = getattr(dtypes[0], "inner", None) if columns.width == 1 else None
        if not (inner.is_numeric() if inner is not None else all(dtype.is_numeric() for dtype in dtypes)):
            found = ", ".join(f"{name} ({dtype})" for name, dtype in columns.schema.items())
            raise DataError(
                f"{self.file} has {found[:200]}, expected one column of lists of numbers, or number columns"
            )
        if inner is None:
            return columns.cast(pl.Float64).fill_null(np.nan).to_numpy()
        lists = columns.to_series().cast(pl.List(pl.Float64))
        sizes = lists.list.len().fill_null(0).to_numpy()
        smallest, size = int(sizes.min()), int(sizes.max())
        if smallest < size or not size:
            raise DataError(f"{self.file} has vectors of {smallest} to {size} numbers, expected one length above 0")
        return lists.explode().fill_null(np.nan).to_numpy().reshape(len(lists), size)

    def _require_finite(self, vectors: Floats, name: Callable[[int], str]) -> None:
        """Raise DataError that names the first row with a number that is not finite."""
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            raise DataError(
                f"{self.file} has numbers that are not finite in {len(bad):,} rows (first: {name(int(bad[0]))}), expected "
                "finite ones; leave such items out of a Parquet file, or set their rows to 0"
            )
