"""Readers: a source's files in, a Dataset out. One file a source."""

from hardneg.data.sources.lightgcn import read_lightgcn
from hardneg.data.sources.pairs import read_pairs
from hardneg.data.sources.table import read_table

__all__ = ["read_lightgcn", "read_pairs", "read_table"]
